"""Messages to and from wire bytes, type URLs and dictionaries.

Bytes are deterministic: equal messages give equal bytes in every process, so a resource's version can be the
hash of its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from meshwright.control_plane.envoy import v3

TYPE_URL_PREFIX = "type.googleapis.com/"

MessageT = TypeVar("MessageT", bound=Message)


def encode(message: Message) -> bytes:
    """The message's wire bytes, map entries sorted by key."""
    return message.SerializeToString(deterministic=True)


def type_url(message: Message | type[Message]) -> str:
    """The type URL of the message, as used in Any and xDS."""
    return TYPE_URL_PREFIX + message.DESCRIPTOR.full_name


def pack(message: Message) -> v3.Any:
    """The message packed into an Any."""
    return v3.Any(type_url=type_url(message), value=encode(message))


def struct(mapping: Mapping[str, Any]) -> v3.Struct:
    """A Struct of plain JSON values; maps of Structs, as in Metadata, accept nothing else."""
    result = v3.Struct()
    result.update(mapping)
    return result


def decode(url: str, wire: bytes) -> Message:
    """Decode `wire` as a message of type `url`.

    Raises KeyError for a type that is not in the schema, google.protobuf.message.DecodeError for malformed
    bytes.
    """
    name = url.rpartition("/")[2]
    return GetMessageClass(v3.POOL.FindMessageTypeByName(name)).FromString(wire)


def from_dict(cls: type[MessageT], mapping: Mapping[str, Any]) -> MessageT:
    """A message from JSON-like values as in Envoy's documentation, with names in either case.

    Maps inside Anys have no fixed order: equal dictionaries need not give equal bytes.
    Raises google.protobuf.json_format.ParseError for unknown names, invalid values, two members of one oneof.
    """
    return json_format.ParseDict(dict(mapping), cls(), descriptor_pool=v3.POOL)


def to_dict(message: Message) -> dict[str, Any]:
    """JSON-like values with the names of Envoy's documentation; fields by number, maps by key.

    Anys are unpacked; raises TypeError for one whose type is not in the schema.
    """
    plain = json_format.MessageToDict(message, preserving_proto_field_name=True, descriptor_pool=v3.POOL)
    ordered: dict[str, Any] = _ordered(plain, v3.POOL.FindMessageTypeByName(message.DESCRIPTOR.full_name))
    return ordered


def _ordered(value: Any, message: Descriptor) -> Any:
    """`value`, the JSON form of `message`, with all maps sorted by key: protobuf does not sort them."""
    if message.full_name == "google.protobuf.Any" and "@type" in value:
        inner = v3.POOL.FindMessageTypeByName(value["@type"].rpartition("/")[2])
        body = {name: content for name, content in value.items() if name != "@type"}
        return {"@type": value["@type"], **_ordered(body, inner)}
    if message.full_name.startswith("google.protobuf."):
        return _sorted(value)
    return {name: _ordered_field(content, message.fields_by_name[name]) for name, content in value.items()}


def _ordered_field(value: Any, field: FieldDescriptor) -> Any:
    message = field.message_type
    if message is None:
        return value
    if message.GetOptions().map_entry:
        value_field = message.fields_by_name["value"]
        return {key: _ordered_field(value[key], value_field) for key in sorted(value)}
    if field.is_repeated:
        return [_ordered(item, message) for item in value]
    return _ordered(value, message)


def _sorted(value: Any) -> Any:
    """Plain JSON with all keys sorted."""
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
