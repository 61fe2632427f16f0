"""OTLP exports cut by their wire format alone, so that one of megabytes is read in steps that are short.

The exports of all signals have one shape: resources, in each scopes, in each spans, metrics or records; the
numbers of the fields are the same (opentelemetry-proto: ExportTraceServiceRequest, ResourceSpans, ScopeSpans
and their like). Bytes that are no message raise ValueError or DecodeError, also while parts are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

RESOURCE_BYTES = 64 * 1024
"""Of one encoded resource: a hundred times what Envoy and the SDKs send. Of a larger one nothing is known."""

SCOPE, ITEM, SCHEMA = 1, 2, 3
"""The fields of ScopeSpans and its like: who measured, a span (or metric, or record), and a URL."""

_PARTS, _RESOURCE, _SCOPES = 1, 1, 2
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


class Part(NamedTuple):
    """What one resource tells: its attributes that are texts, and its bytes."""

    attributes: dict[str, str]
    body: memoryview

    def contents(self) -> Iterator[tuple[int, memoryview]]:
        """The fields of its scopes by number, encoded, and its own SCHEMA; 0 where a step found none."""
        for number, scope in fields(self.body):
            if number == _SCOPES:
                yield from fields(scope)
            yield (SCHEMA, scope) if number == SCHEMA else (0, scope[:0])

    def items(self) -> Iterator[memoryview | None]:
        """The encoded spans, metrics or records; None where a step found none."""
        return (content if number == ITEM else None for number, content in self.contents())


def parts(body: bytes) -> Iterator[Part | None]:
    """The resources of an export; None where a step found none."""
    for number, part in fields(memoryview(body)):
        if number != _PARTS:
            yield None
            continue
        encoded = b""
        for inner, content in fields(part):
            if inner == _RESOURCE and len(encoded) <= RESOURCE_BYTES:
                encoded += content[: RESOURCE_BYTES + 1]
            yield None
        yield Part({} if len(encoded) > RESOURCE_BYTES else _attributes(encoded), part)


def _attributes(encoded: bytes) -> dict[str, str]:
    return {one.key: one.value.string_value for one in Resource.FromString(encoded).attributes}


def fields(body: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields of an encoded message, those of a fixed or varint type without their content.

    Raises ValueError when the bytes are none (protobuf.dev, "Encoding").
    """
    at, size = 0, len(body)
    while at < size:
        tag, at = _varint(body, at)
        wire = tag & 7
        start = at
        if wire == _LENGTH:
            length, start = _varint(body, at)
            at = start + length
        elif wire == _VARINT:
            _, at = _varint(body, at)
            start = at
        elif wire in {_FIXED64, _FIXED32}:
            at += 8 if wire == _FIXED64 else 4
            start = at
        else:
            raise ValueError(f"wire type {wire}")
        if at > size or not tag >> 3:
            raise ValueError("a field ends beyond its message, or has no number")
        yield tag >> 3, body[start:at]


def _varint(body: memoryview, at: int) -> tuple[int, int]:
    """A number and where it ends; raises ValueError."""
    value = shift = 0
    while at < len(body) and shift < 64:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number without an end")


def length_delimited(body: bytes | memoryview, field: int = _PARTS) -> bytes:
    """A part as a field of an export again: exports that are joined are one export."""
    head, left = bytearray([field << 3 | _LENGTH]), len(body)
    while left > 0x7F:
        head.append(left & 0x7F | 0x80)
        left >>= 7
    head.append(left)
    return bytes(head) + body


def part(attributes: Mapping[str, str], items: Iterable[bytes]) -> bytes:
    """An export of one resource with these encoded spans (or metrics, or records)."""
    scope = b"".join(length_delimited(item, ITEM) for item in items)
    return length_delimited(resource(attributes) + length_delimited(scope, _SCOPES))


def resource(attributes: Mapping[str, str]) -> bytes:
    """A resource as a field of a part; behind another it adds to that one's attributes."""
    told = Resource(
        attributes=(
            KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in attributes.items()
        )
    )
    return length_delimited(told.SerializeToString(), _RESOURCE)
