"""Load file descriptors into a private DescriptorPool.

Other packages (opentelemetry-proto, googleapis-common-protos) register copies of the same files in protobuf's
default pool, where they would clash.
"""

from __future__ import annotations

from google.protobuf import (
    any_pb2,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.descriptor_pool import DescriptorPool

WELL_KNOWN = tuple(
    module.DESCRIPTOR
    for module in (any_pb2, duration_pb2, empty_pb2, field_mask_pb2, struct_pb2, timestamp_pb2, wrappers_pb2)
)
"""Files of the well-known types, from the protobuf runtime."""

_LENGTH = 4


def join(files: list[bytes]) -> bytes:
    """Serialized FileDescriptorProtos, each after its length in four bytes, little-endian."""
    return b"".join(len(file).to_bytes(_LENGTH, "little") + file for file in files)


def load(joined: bytes) -> DescriptorPool:
    """A pool of the well-known types and the files of `join`, loaded eagerly.

    A pool that loads on demand is not thread-safe.
    """
    pool = DescriptorPool()
    for file in WELL_KNOWN:
        pool.AddSerializedFile(file.serialized_pb)
    start = 0
    while start < len(joined):
        body = start + _LENGTH
        start = body + int.from_bytes(joined[start:body], "little")
        pool.AddSerializedFile(joined[body:start])
    return pool
