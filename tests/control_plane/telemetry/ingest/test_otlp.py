"""OTLP envelopes: what they keep of an export, and what they reject before parsing it."""

from __future__ import annotations

import contextlib
import sys

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from meshwright.control_plane.telemetry.ingest import otlp
from tests.control_plane.telemetry.ingest.wire_format import field, repeated
from tests.control_plane.telemetry.span_exports import SpanSpec, span_export


def resources_of(body: bytes, limit: int = otlp.MAX_RECORDS) -> list[otlp.ResourceRecords]:
    return [resource for resource in otlp.read_export(body, limit) if resource is not None]


def records(body: bytes) -> list[bytes]:
    resources = resources_of(body)
    return [record for resource in resources for record in resource.records() if record is not None]


def test_records_keep_their_exact_bytes() -> None:
    body = span_export("orders", [SpanSpec(1, 1, name="a"), SpanSpec(1, 2, name="b")])
    request = ExportTraceServiceRequest.FromString(body)
    spans = request.resource_spans[0].scope_spans[0].spans
    assert records(body) == [span.SerializeToString() for span in spans]


def test_encoding_a_parsed_export_gives_the_same_export() -> None:
    request = ExportTraceServiceRequest.FromString(span_export("orders", [SpanSpec(1, 1)]))
    request.resource_spans[0].schema_url = "https://example.com/schema"
    request.resource_spans[0].scope_spans[0].scope.name = "app"
    body = request.SerializeToString()
    (resource,) = resources_of(body)
    encoded = otlp.encode_export(resource.encoded, resource.encoded_scopes, resource.schema_url)
    assert ExportTraceServiceRequest.FromString(encoded) == request
    (scope,) = resource.scopes()
    assert list(scope.records) == records(body)


def test_concatenated_exports_are_one_export() -> None:
    bodies = [span_export(name, [SpanSpec(1, 1)]) for name in ("orders", "catalog")]
    resources = resources_of(b"".join(bodies))
    assert [resource.attributes["service.name"] for resource in resources] == ["orders", "catalog"]


def test_appended_attributes_extend_a_resource() -> None:
    resource = otlp.encode_attributes({"a": "1"}) + otlp.encode_attributes({"b": "2"})
    (parsed,) = resources_of(otlp.encode_export(resource, []))
    assert parsed.attributes == {"a": "1", "b": "2"}


def test_a_resource_with_too_many_attributes_has_none() -> None:
    pair = KeyValue(key="a", value=AnyValue(string_value="b"))
    for count, expected in (
        (otlp.MAX_RESOURCE_ATTRIBUTES, {"a": "b"}),
        (otlp.MAX_RESOURCE_ATTRIBUTES + 1, {}),
    ):
        resource = Resource(attributes=[pair] * count).SerializeToString()
        (parsed,) = resources_of(otlp.encode_export(resource, []))
        assert parsed.attributes == expected


@pytest.mark.parametrize(
    "body",
    [
        repeated(1, b"", 2 * (otlp.MAX_RECORDS + 1)),
        field(1, repeated(2, b"", 2 * otlp.MAX_RECORDS)),
        field(1, field(2, repeated(2, b"", 2 * (otlp.MAX_RECORDS - 1)))),
        field(1, field(2, repeated(2, b"", otlp.MAX_RECORDS)) * 2),
    ],
    ids=["resources", "scopes", "records", "records in two scopes"],
)
def test_an_export_with_too_many_messages_is_rejected(body: bytes) -> None:
    with pytest.raises(otlp.TooManyRecordsError):
        records(body)
    assert resources_of(body, sys.maxsize)


def test_an_export_at_the_limit_is_accepted() -> None:
    body = field(1, field(2, repeated(2, b"", 2 * (otlp.MAX_RECORDS - 2))))
    assert len(records(body)) == otlp.MAX_RECORDS - 2


@given(st.binary(max_size=200))
def test_invalid_bytes_raise_nothing_else(body: bytes) -> None:
    with contextlib.suppress(DecodeError, ValueError):
        records(body)
