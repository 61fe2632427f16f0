"""What waits to be passed on, what is passed on of an export, and what a collector's answers mean."""

from __future__ import annotations

import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from meshwright.control_plane.telemetry.export import queue, retry
from meshwright.control_plane.telemetry.export.queue import CHUNK_OVERHEAD, Batch, ExportQueue, ResourceChunk
from meshwright.control_plane.telemetry.export.split import MAX_ITEM_BYTES, Oversized, split
from meshwright.control_plane.telemetry.ingest.queue import Signal
from tests.control_plane.telemetry import log_exports as records
from tests.control_plane.telemetry.metric_exports import Stats, metrics_export
from tests.control_plane.telemetry.span_exports import SpanSpec, span_export

SIGNALS: tuple[Signal, ...] = ("metrics", "traces")


def piece(size: int = 100, count: int = 1, came: float = 0.0) -> ResourceChunk:
    return ResourceChunk(bytes(size), count, came)


def found(signal: Signal, body: bytes, service: str = "orders") -> list[ResourceChunk | Oversized]:
    return [
        resource_chunk for resource_chunk in split(signal, service, body, 0.0) if resource_chunk is not None
    ]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(SIGNALS), st.integers(0, 900), st.integers(1, 9)),
        st.tuples(
            st.sampled_from(["take", "back", "sent"]), st.sampled_from(SIGNALS), st.just(0), st.just(0)
        ),
    ),
    max_size=60,
)


@given(STEPS)
def test_every_item_is_accounted_for_and_the_limit_holds(
    steps: list[tuple[str, Signal, int, int]],
) -> None:
    box = ExportQueue(SIGNALS, max_bytes=4_000)
    put = left = sent = 0
    flying: dict[Signal, Batch] = {}
    for now, (step, signal, size, count) in enumerate(steps):
        if step == "put":
            left += sum(box.put(signal, piece(size, count, now)).values())
            put += count
        elif step == "take" and signal not in flying:
            nothing = box.next_due(signal) is None
            batch = box.take_batch(signal)
            assert (batch is None) == nothing
            if batch:
                flying[signal] = batch
        elif signal in flying and step == "back":
            left += sum(box.put_back(flying.pop(signal)).values())
        elif signal in flying and step == "sent":
            sent += flying.pop(signal).count
        assert box.size_bytes <= 4_000
    waiting = sum(box.drain().values())
    assert put == left + sent + waiting + sum(item.count for item in flying.values())
    assert box.size_bytes == 0


def test_batches_are_limited_and_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MAX_BATCH_BYTES", 250)
    box = ExportQueue(SIGNALS)
    for came in range(5):
        box.put("traces", piece(100, came=came))
    box.put("traces", piece(900, came=5))
    sizes = [
        [chunk.received_at for chunk in batch.chunks]
        for batch in iter(lambda: box.take_batch("traces"), None)
    ]
    assert sizes == [[0, 1], [2, 3], [4], [5]]


def test_a_batch_is_due_when_it_is_full_or_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "MAX_BATCH_BYTES", 1000)
    box = ExportQueue(SIGNALS)
    assert box.next_due("traces") is None
    box.put("traces", piece(100, came=7.0))
    assert box.next_due("traces") == 7.0 + queue.BATCH_DELAY
    assert box.next_due("metrics") is None
    box.put("traces", piece(1000, came=8.0))
    assert box.next_due("traces") == float("-inf")


def test_the_oldest_of_all_signals_makes_room() -> None:
    box = ExportQueue(SIGNALS, max_bytes=3 * (100 + CHUNK_OVERHEAD))
    for came, signal in enumerate(("metrics", "traces", "metrics")):
        assert box.put(signal, piece(count=10 + came, came=came)) == {}  # type: ignore[arg-type]
    assert box.put("traces", piece(came=3)) == {"metrics": 10}
    assert box.put("traces", piece(came=4)) == {"traces": 11}


def test_a_returned_batch_is_first_in_order_and_first_to_be_dropped() -> None:
    box = ExportQueue(SIGNALS, max_bytes=2 * (100 + CHUNK_OVERHEAD))
    box.put("traces", piece(count=1, came=0))
    batch = box.take_batch("traces")
    assert batch is not None
    box.put("traces", piece(count=2, came=1))
    box.put("traces", piece(count=3, came=2))
    assert box.put_back(batch) == {"traces": 1}
    again = box.take_batch("traces")
    assert again is not None and [chunk.count for chunk in again.chunks] == [2, 3]


def test_chunks_of_several_senders_are_one_export() -> None:
    bodies = (
        span_export("orders", [SpanSpec(1, 1), SpanSpec(1, 2)]),
        span_export("orders", [SpanSpec(2, 3)]),
    )
    parts = [resource_chunk for body in bodies for resource_chunk in found("traces", body)]
    assert [resource_chunk.count for resource_chunk in parts] == [2, 1]
    joined = ExportTraceServiceRequest.FromString(
        b"".join(resource_chunk.body for resource_chunk in parts if isinstance(resource_chunk, ResourceChunk))
    )
    ids = [
        int.from_bytes(span.span_id, "big")
        for part in joined.resource_spans
        for span in part.scope_spans[0].spans
    ]
    assert ids == [1, 2, 3]


def test_metrics_count_their_data_points() -> None:
    clusters: dict[str, Stats] = {
        "catalog": {"upstream_rq_completed": 1, "upstream_rq_time": [1] * 9},
        "users": {"upstream_rq_retry": 1},
    }
    assert [
        resource_chunk.count
        for resource_chunk in found("metrics", metrics_export("orders", "orders-1", clusters))
    ] == [3]


def test_access_logs_get_the_standard_resource_attributes() -> None:
    (part,) = found("logs", records.log_export("orders", {}, {}, node="orders-2"))
    assert isinstance(part, ResourceChunk)
    assert part.count == 2
    (read,) = ExportLogsServiceRequest.FromString(part.body).resource_logs
    values = {attribute.key: attribute.value.string_value for attribute in read.resource.attributes}
    assert values["service.name"] == values["cluster_name"] == "orders"
    assert values["service.instance.id"] == "orders-2"
    assert len(read.scope_logs[0].log_records) == 2
    assert found("logs", records.log_export("users", {})) == []


def test_invalid_utf8_skips_the_resource() -> None:
    request = ExportTraceServiceRequest.FromString(span_export("orders", [SpanSpec(1, 1)]))
    (resource,) = request.resource_spans
    for place in (resource, resource.scope_spans[0], resource.scope_spans[0].scope):
        name = "name" if place is resource.scope_spans[0].scope else "schema_url"
        setattr(place, name, "~~~")
        body = request.SerializeToString()
        assert len(found("traces", body)) == 1
        assert found("traces", body.replace(b"~~~", b"\xff\xfe\xfd")) == []
        place.ClearField(name)  # type: ignore[arg-type]


def test_resources_of_another_service_are_skipped() -> None:
    assert found("traces", span_export("users", [SpanSpec(1, 1)])) == []
    mixed = span_export("users", [SpanSpec(1, 1)]) + span_export("orders", [SpanSpec(1, 2)])
    assert [resource_chunk.count for resource_chunk in found("traces", mixed)] == [1]


def test_invalid_ids_skip_the_resource() -> None:
    request = ExportTraceServiceRequest.FromString(span_export("orders", [SpanSpec(1, 1), SpanSpec(1, 2)]))
    span = request.resource_spans[0].scope_spans[0].spans[1]
    assert len(found("traces", request.SerializeToString())) == 1
    span.links.add(trace_id=bytes(16), span_id=bytes(8))
    assert len(found("traces", request.SerializeToString())) == 1
    span.links.add(trace_id=bytes(15), span_id=bytes(8))
    assert found("traces", request.SerializeToString()) == []
    del span.links[:]
    span.parent_span_id = b"short"
    assert found("traces", request.SerializeToString()) == []


def test_a_resource_with_an_oversized_record_is_counted_and_skipped() -> None:
    large = [SpanSpec(1, 1), SpanSpec(1, 2, attributes={"a": "x" * MAX_ITEM_BYTES}), SpanSpec(1, 3)]
    assert found("traces", span_export("orders", large)) == [Oversized(3)]


@given(st.binary(max_size=300), st.integers(0, 300))
def test_any_bytes_yield_only_valid_exports(garbage: bytes, cut: int) -> None:
    good = span_export("orders", [SpanSpec(1, 1, name="ä"), SpanSpec(1, 2, 1)])
    for body in (garbage, good[:cut] + garbage, good[:cut] + garbage + good[cut:]):
        for resource_chunk in found("traces", body):
            assert isinstance(resource_chunk, ResourceChunk)
            read = ExportTraceServiceRequest.FromString(resource_chunk.body)
            assert resource_chunk.count == sum(
                len(s.spans) for r in read.resource_spans for s in r.scope_spans
            )


def test_retry_delays_grow_with_jitter_up_to_a_limit() -> None:
    longest = [retry.retry_delay(failures, 1.0) for failures in range(1, 9)]
    assert longest[:5] == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert set(longest[5:]) == {retry.MAX_DELAY}
    assert retry.retry_delay(10_000, 0.0) == retry.MAX_DELAY / 2


def test_a_server_delay_is_read_from_the_error_details() -> None:
    status = Status(code=8)
    status.details.add().Pack(ErrorInfo(reason="busy"))
    assert retry.server_delay(status.SerializeToString()) is None
    status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=2, nanos=500_000_000)))
    assert retry.server_delay(status.SerializeToString()) == 2.5
    far = Status(code=8)
    far.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=10**9)))
    assert retry.server_delay(far.SerializeToString()) == retry.MAX_SERVER_DELAY
    assert retry.server_delay(b"\xff\xff") is None


def test_a_partial_success_is_parsed_for_each_signal() -> None:
    reply = ExportTraceServiceResponse()
    assert retry.partial_success("traces", b"") == (0, "")
    reply.partial_success.rejected_spans, reply.partial_success.error_message = 4, "too old"
    for signal in ("traces", "metrics", "logs"):
        assert retry.partial_success(signal, reply.SerializeToString()) == (4, "too old")
    assert retry.partial_success("traces", b"\xff") == (0, "")
