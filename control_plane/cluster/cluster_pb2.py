"""The messages of cluster.proto as protobuf classes: `cluster_pb2.StateRequest(reports=True)`.

They are made at import from `cluster.binpb`, in a descriptor pool of their own; `cluster_pb2.pyi` declares
their types. Both files come from `generate`.
"""

from __future__ import annotations

from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_FILES = FileDescriptorSet.FromString(Path(__file__).with_name("cluster.binpb").read_bytes())
_POOL = DescriptorPool()
for _file in _FILES.file:
    _POOL.AddSerializedFile(_file.SerializeToString())

DESCRIPTOR = _POOL.FindFileByName("cluster.proto")
globals().update({
    name: GetMessageClass(message) for name, message in DESCRIPTOR.message_types_by_name.items()
})  # fmt: skip
