"""Walk the exposed schema: every message in the stubs, and a value for every field."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.envoy.messages import MESSAGES


def reached() -> Iterator[Descriptor]:
    """Every message that the exposed ones reach, including themselves."""
    waiting = [v3.POOL.FindMessageTypeByName(name) for name in MESSAGES.values()]
    seen = set()
    while waiting:
        message = waiting.pop()
        if message.full_name not in seen:
            seen.add(message.full_name)
            waiting.extend(field.message_type for field in message.fields if field.message_type)
            if not message.GetOptions().map_entry:
                yield message


def content(field: FieldDescriptor) -> Any:
    """A value for the field: a list, a mapping or a single value, never the default."""
    message = field.message_type
    if message is not None and message.GetOptions().map_entry:
        key, value = (message.fields_by_name[part] for part in ("key", "value"))
        return {single(key): single(value)}
    return [single(field)] if field.is_repeated else single(field)


def single(field: FieldDescriptor) -> Any:
    """A single value that is not the default."""
    if field.message_type is not None:
        return GetMessageClass(field.message_type)()
    if field.enum_type is not None:
        return max(field.enum_type.values_by_number)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return b"a"
    by_type: dict[int, Any] = {
        FieldDescriptor.CPPTYPE_BOOL: True,
        FieldDescriptor.CPPTYPE_DOUBLE: 0.5,
        FieldDescriptor.CPPTYPE_FLOAT: 0.5,
        FieldDescriptor.CPPTYPE_STRING: "a",
    }
    return by_type.get(field.cpp_type, 1)
