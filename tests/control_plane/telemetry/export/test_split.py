"""Splitting an export: which resources are exported, and what they count for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from meshwright.control_plane.telemetry.export.queue import ResourceChunk
from meshwright.control_plane.telemetry.export.split import MAX_ITEM_BYTES, Oversized, split
from meshwright.control_plane.telemetry.ingest.queue import Signal
from tests.control_plane.telemetry.log_exports import log_export
from tests.control_plane.telemetry.metric_exports import Stats, metrics_export
from tests.control_plane.telemetry.span_exports import SpanSpec, span_export


def chunks_of(signal: Signal, body: bytes, service: str = "orders") -> list[ResourceChunk | Oversized]:
    return [chunk for chunk in split(signal, service, body, 0.0) if chunk is not None]


def test_chunks_of_several_senders_are_one_export() -> None:
    bodies = (
        span_export("orders", [SpanSpec(1, 1), SpanSpec(1, 2)]),
        span_export("orders", [SpanSpec(2, 3)]),
    )
    chunks = [chunk for body in bodies for chunk in chunks_of("traces", body)]
    assert [chunk.count for chunk in chunks] == [2, 1]
    joined = ExportTraceServiceRequest.FromString(
        b"".join(chunk.body for chunk in chunks if isinstance(chunk, ResourceChunk))
    )
    ids = [
        int.from_bytes(span.span_id, "big")
        for resource in joined.resource_spans
        for span in resource.scope_spans[0].spans
    ]
    assert ids == [1, 2, 3]


def test_metrics_count_their_data_points() -> None:
    clusters: dict[str, Stats] = {
        "catalog": {"upstream_rq_completed": 1, "upstream_rq_time": [1] * 9},
        "users": {"upstream_rq_retry": 1},
    }
    assert [
        chunk.count for chunk in chunks_of("metrics", metrics_export("orders", "orders-1", clusters))
    ] == [3]


def test_access_logs_get_the_standard_resource_attributes() -> None:
    (chunk,) = chunks_of("logs", log_export("orders", {}, {}, node="orders-2"))
    assert isinstance(chunk, ResourceChunk)
    assert chunk.count == 2
    (resource,) = ExportLogsServiceRequest.FromString(chunk.body).resource_logs
    values = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
    assert values["service.name"] == values["cluster_name"] == "orders"
    assert values["service.instance.id"] == "orders-2"
    assert len(resource.scope_logs[0].log_records) == 2
    assert chunks_of("logs", log_export("users", {})) == []


def test_invalid_utf8_skips_the_resource() -> None:
    request = ExportTraceServiceRequest.FromString(span_export("orders", [SpanSpec(1, 1)]))
    (resource,) = request.resource_spans
    for place in (resource, resource.scope_spans[0], resource.scope_spans[0].scope):
        name = "name" if place is resource.scope_spans[0].scope else "schema_url"
        setattr(place, name, "~~~")
        body = request.SerializeToString()
        assert len(chunks_of("traces", body)) == 1
        assert chunks_of("traces", body.replace(b"~~~", b"\xff\xfe\xfd")) == []
        place.ClearField(name)  # type: ignore[arg-type]


def test_resources_of_another_service_are_skipped() -> None:
    assert chunks_of("traces", span_export("users", [SpanSpec(1, 1)])) == []
    mixed = span_export("users", [SpanSpec(1, 1)]) + span_export("orders", [SpanSpec(1, 2)])
    assert [chunk.count for chunk in chunks_of("traces", mixed)] == [1]


def test_invalid_ids_skip_the_resource() -> None:
    request = ExportTraceServiceRequest.FromString(span_export("orders", [SpanSpec(1, 1), SpanSpec(1, 2)]))
    span = request.resource_spans[0].scope_spans[0].spans[1]
    assert len(chunks_of("traces", request.SerializeToString())) == 1
    span.links.add(trace_id=bytes(16), span_id=bytes(8))
    assert len(chunks_of("traces", request.SerializeToString())) == 1
    span.links.add(trace_id=bytes(15), span_id=bytes(8))
    assert chunks_of("traces", request.SerializeToString()) == []
    del span.links[:]
    span.parent_span_id = b"short"
    assert chunks_of("traces", request.SerializeToString()) == []


def test_a_resource_with_an_oversized_record_is_counted_and_skipped() -> None:
    large = [SpanSpec(1, 1), SpanSpec(1, 2, attributes={"a": "x" * MAX_ITEM_BYTES}), SpanSpec(1, 3)]
    assert chunks_of("traces", span_export("orders", large)) == [Oversized(3)]


@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_bytes_yield_only_valid_exports(noise: bytes, cut: int) -> None:
    good = span_export("orders", [SpanSpec(1, 1, name="ä"), SpanSpec(1, 2, 1)])
    for body in (noise, good[:cut] + noise, good[:cut] + noise + good[cut:]):
        for chunk in chunks_of("traces", body):
            assert isinstance(chunk, ResourceChunk)
            request = ExportTraceServiceRequest.FromString(chunk.body)
            assert chunk.count == sum(len(s.spans) for r in request.resource_spans for s in r.scope_spans)
