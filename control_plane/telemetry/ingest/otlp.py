"""OTLP exports parsed by protobuf in bounded steps.

The three signals share one shape with the same field numbers: an export holds resources, a resource holds
scopes, a scope holds spans, metrics or log records (opentelemetry-proto: ExportTraceServiceRequest,
ResourceSpans, ScopeSpans and their counterparts for metrics and logs).

Parsing a whole export in one call would block the event loop: 1 MiB of empty messages becomes 524,288 objects
and takes 40 to 170 ms. The envelopes below are wire-compatible with those messages but keep what is nested as
bytes; 1 MiB of empty fields then takes about 20 ms, and their number is known before any of them is parsed.
Resources and records are parsed one at a time, by the types of opentelemetry-proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

MAX_RECORDS = 20_000
"""Resources, scopes and records in one export: twice the spans of 100 bytes that fit into 1 MiB."""

MAX_RESOURCE_BYTES = 64 * 1024
"""Size of one encoded resource, a hundred times what Envoy and the SDKs send. A larger one is not parsed."""

DropReason = Literal["foreign", "oversized", "malformed"]
"""Why a span or record is dropped: it is another service's than the sender's, it is too large, or invalid."""

MAX_RESOURCE_ATTRIBUTES = 1_000
"""Attributes of one resource. Those of a resource with more are not read."""

_REPEATED, _SINGULAR = FieldDescriptorProto.LABEL_REPEATED, FieldDescriptorProto.LABEL_OPTIONAL
_ENVELOPES = {
    "Export": (("resources", _REPEATED),),
    "Resource": (("resource", _SINGULAR), ("scopes", _REPEATED), ("schema_url", _SINGULAR)),
    "Scope": (("scope", _SINGULAR), ("records", _REPEATED), ("schema_url", _SINGULAR)),
}
# Message → its fields in the order of their numbers, all of type bytes.


class TooManyRecordsError(ValueError):
    """An export with more resources, scopes and records than allowed."""


class ScopeRecords(NamedTuple):
    """One instrumentation scope with its spans, metrics or log records; all encoded."""

    scope: bytes
    records: Sequence[bytes]
    schema_url: bytes


@dataclass(slots=True)
class _Budget:
    """How many more resources, scopes and records an export may hold."""

    remaining: int

    def spend(self, count: int) -> None:
        self.remaining -= count
        if self.remaining < 0:
            raise TooManyRecordsError("too many resources, scopes and records")


@dataclass(frozen=True, slots=True)
class ResourceRecords:
    """The records of one resource. `attributes` are the resource's string attributes, `encoded` its bytes."""

    attributes: Mapping[str, str]
    encoded: bytes
    encoded_scopes: Sequence[bytes]
    schema_url: bytes
    budget: _Budget

    def scopes(self) -> Iterator[ScopeRecords]:
        """Parse the scopes. Raises DecodeError and TooManyRecordsError."""
        for encoded in self.encoded_scopes:
            envelope = _SCOPE.FromString(encoded)
            self.budget.spend(len(envelope.records))
            yield ScopeRecords(envelope.scope, envelope.records, envelope.schema_url)

    def records(self) -> Iterator[bytes | None]:
        """The encoded records; None after each scope that was parsed. Raises as `scopes` does."""
        for scope in self.scopes():
            yield None
            yield from scope.records


def read_export(body: bytes, max_records: int = MAX_RECORDS) -> Iterator[ResourceRecords | None]:
    """The resources of an export; None after a step without one.

    Raises DecodeError for bytes that are not an export, and TooManyRecordsError.
    """
    budget = _Budget(max_records)
    resources: Sequence[bytes] = _EXPORT.FromString(body).resources
    budget.spend(len(resources))
    yield None
    for encoded in resources:
        envelope = _RESOURCE.FromString(encoded)
        budget.spend(len(envelope.scopes))
        yield ResourceRecords(
            _string_attributes(envelope.resource),
            envelope.resource,
            envelope.scopes,
            envelope.schema_url,
            budget,
        )
        yield None


def _string_attributes(resource: bytes) -> dict[str, str]:
    if len(resource) > MAX_RESOURCE_BYTES:
        return {}
    attributes = Resource.FromString(resource).attributes
    if len(attributes) > MAX_RESOURCE_ATTRIBUTES:
        return {}
    return {pair.key: pair.value.string_value for pair in attributes}


def encode_attributes(attributes: Mapping[str, str]) -> bytes:
    """An encoded Resource. Appended to another encoded Resource it adds these attributes to it."""
    pairs = (KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in attributes.items())
    return Resource(attributes=pairs).SerializeToString()


def encode_scope(records: Iterable[bytes]) -> bytes:
    """A scope without a name that holds these encoded records."""
    encoded: bytes = _SCOPE(records=records).SerializeToString()
    return encoded


def encode_export(resource: bytes, scopes: Iterable[bytes], schema_url: bytes = b"") -> bytes:
    """An export with one resource. Concatenated exports are one export."""
    envelope = _RESOURCE(resource=resource, scopes=scopes, schema_url=schema_url)
    encoded: bytes = _EXPORT(resources=[envelope.SerializeToString()]).SerializeToString()
    return encoded


def _envelope_classes() -> tuple[Any, ...]:
    """Message classes for _ENVELOPES, which `protoc` would generate from a .proto file."""
    file = FileDescriptorProto(
        name="meshwright/otlp_envelopes.proto", package="meshwright.otlp", syntax="proto3"
    )
    for name, fields in _ENVELOPES.items():
        message = file.message_type.add(name=name)
        for number, (field, label) in enumerate(fields, 1):
            message.field.add(name=field, number=number, label=label, type=FieldDescriptorProto.TYPE_BYTES)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    types = (pool.FindMessageTypeByName(f"meshwright.otlp.{name}") for name in _ENVELOPES)
    return tuple(message_factory.GetMessageClass(type_) for type_ in types)


_EXPORT, _RESOURCE, _SCOPE = _envelope_classes()
