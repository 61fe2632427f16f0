"""Envoy's v3 messages as native protobuf classes: `v3.Cluster(name="orders", ...)`.

All classes belong to one private pool, loaded at import. Messages of other pools, including the default one
of `google.protobuf`, are rejected as field values: use `v3.Any`, `v3.Duration`, `v3.Struct` and so on.
The names come from `messages`, the types from the generated `v3.pyi`.
"""

from __future__ import annotations

import zlib
from pathlib import Path

from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message_factory import GetMessageClass

from meshwright.control_plane.envoy.messages import ENUMS, MESSAGES
from meshwright.control_plane.envoy.pool import load

POOL = load(zlib.decompress(Path(__file__).with_name("descriptors.bin").read_bytes()))

globals().update(
    {short: GetMessageClass(POOL.FindMessageTypeByName(full)) for short, full in MESSAGES.items()}
)
globals().update({short: EnumTypeWrapper(POOL.FindEnumTypeByName(full)) for short, full in ENUMS.items()})
