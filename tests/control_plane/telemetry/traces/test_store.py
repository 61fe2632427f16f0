"""The trace store: what it accepts, finds and returns, and that it stays within its limits."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshwright.control_plane.api.models.traces import TraceQuery
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.telemetry import metrics
from meshwright.control_plane.telemetry.ingest.sender import SenderCheck
from meshwright.control_plane.telemetry.traces.store import TraceStore
from tests.control_plane.telemetry.span_exports import BASE_MS, SpanSpec, span_export

ORDERS, EVIL = (Identity("mesh.local", "service", name) for name in ("orders", "evil"))
INGRESS = Identity("mesh.local", "gateway", "ingress")


def handle(traces: TraceStore, identity: Identity, body: bytes) -> int:
    """Handle an export; returns the number of steps."""
    return sum(1 for _ in traces.handle(identity, body, 0.0))


def order() -> TraceStore:
    """A trace of an order: the ingress, then orders, whose second attempt fails."""
    traces = TraceStore()
    spans = [SpanSpec(7, 1, name="ingress", end=50), SpanSpec(7, 2, 1, kind=3, start=1, end=49)]
    handle(traces, INGRESS, span_export("ingress", spans))
    attempt = {"retry.count": "1", "response_flags": "UO,XX"}
    of_orders = [
        SpanSpec(7, 4, 3, start=5, end=9, failed=True, attributes=attempt),
        SpanSpec(7, 3, 2, start=2, end=48),
    ]
    handle(traces, ORDERS, span_export("orders", of_orders))
    return traces


def test_spans_of_several_senders_form_one_tree() -> None:
    trace = order().get(f"{7:032x}")
    assert trace is not None
    assert [(int(span.id, 16), span.depth, span.service) for span in trace.tree] == [
        (1, 0, "ingress"), (2, 1, "ingress"), (3, 2, "orders"), (4, 3, "orders"),
    ]  # fmt: skip
    assert (trace.service, trace.operation, trace.duration, trace.errors) == ("ingress", "ingress", 50, 1)
    attempt = trace.tree[3]
    assert (attempt.attempt, attempt.error) == (1, True)
    assert [flag.flag for flag in attempt.flags] == ["UO", "XX"]
    assert "CircuitBreaker" in attempt.flags[0].kinds


def test_a_search_needs_one_span_that_matches_everything() -> None:
    traces = order()
    assert traces.services() == ("ingress", "orders")
    assert traces.operations("ingress") == ("GET /", "ingress")
    min_duration = 45_000_000
    assert len(traces.search(TraceQuery(service="orders", min_duration=min_duration), 5)) == 1
    assert len(traces.search(TraceQuery(service="orders", errors=True), 5)) == 1
    for nothing in (
        TraceQuery(service="ingress", errors=True),
        TraceQuery(service="orders", errors=True, min_duration=min_duration),
        TraceQuery(service="orders", operation="ingress"),
        TraceQuery(service="catalog"),
        TraceQuery(start=2**62),
        TraceQuery(end=1),
    ):
        assert traces.search(nothing, 5) == ()
    (called,) = traces.dependencies()
    assert (called.caller, called.callee, called.count) == ("ingress", "orders", 1)


def test_spans_of_another_service_are_dropped() -> None:
    traces = order()
    handle(traces, ORDERS, span_export("ingress", [SpanSpec(7, 9, 1), SpanSpec(8, 9)]))
    handle(traces, ORDERS, span_export("orders", [SpanSpec(7, 1, name="forged")]))
    trace = traces.get(f"{7:032x}")
    assert trace is not None
    assert traces.dropped == {"foreign": 2}
    assert {(span.service, span.operation) for span in trace.tree if int(span.id, 16) == 1} == {
        ("ingress", "ingress"),
        ("orders", "forged"),
    }


def test_newest_traces_are_listed_first_and_oldest_are_evicted_first() -> None:
    traces = TraceStore(max_traces=3)
    for number in range(1, 6):
        handle(traces, ORDERS, span_export("orders", [SpanSpec(number, 1, start=number)]))
    assert [int(trace_summary.id, 16) for trace_summary in traces.search(TraceQuery(), 10)] == [5, 4, 3]
    assert traces.get(f"{1:032x}") is None
    assert traces.evicted == 2
    assert traces.ids_with_prefix(f"{4:032x}"[:31], 5) == tuple(f"{n:032x}" for n in (5, 4, 3))


def test_the_service_with_most_spans_makes_room() -> None:
    traces = TraceStore(max_traces=4)
    handle(traces, INGRESS, span_export("ingress", [SpanSpec(1, 1)]))
    handle(traces, ORDERS, span_export("orders", [SpanSpec(n, n) for n in range(2, 100)]))
    assert sorted(int(trace_summary.id, 16) for trace_summary in traces.search(TraceQuery(), 10)) == [
        1,
        97,
        98,
        99,
    ]
    handle(traces, INGRESS, span_export("ingress", [SpanSpec(200, 1), SpanSpec(201, 1), SpanSpec(202, 1)]))
    assert [
        int(trace_summary.id, 16) for trace_summary in traces.search(TraceQuery(service="orders"), 10)
    ] == [99, 98]


def test_metrics_count_stored_evicted_and_dropped_spans() -> None:
    def read() -> tuple[float, ...]:
        counters = (metrics.SPANS_STORED, metrics.SPANS_EVICTED, metrics.SPANS_DROPPED.labels("foreign"))
        return tuple(float(counter._value.get()) for counter in counters)

    before = read()
    traces = TraceStore(max_traces=2)
    handle(traces, ORDERS, span_export("orders", [SpanSpec(n, 1) for n in range(1, 6)]))
    handle(traces, ORDERS, span_export("users", [SpanSpec(9, 1)]))
    assert tuple(b - a for a, b in zip(before, read(), strict=True)) == (5, 3, 1)
    assert (metrics.TRACES_STORED._value.get(), metrics.TRACE_BYTES._value.get()) == (2, traces.size_bytes)


def test_a_span_sent_twice_is_stored_once() -> None:
    traces = TraceStore()
    body = span_export("orders", [SpanSpec(1, 1)])
    handle(traces, ORDERS, body)
    handle(traces, ORDERS, body)
    assert (traces.span_count, traces.dropped) == (1, {"duplicate": 1})


def test_a_cycle_of_spans_lists_each_span_once() -> None:
    traces = TraceStore()
    handle(traces, ORDERS, span_export("orders", [SpanSpec(1, 1, 2), SpanSpec(1, 2, 1), SpanSpec(1, 3, 3)]))
    trace = traces.get(f"{1:032x}")
    assert trace is not None
    assert sorted(int(span.id, 16) for span in trace.tree) == [1, 2, 3]


def test_a_large_export_is_processed_in_steps() -> None:
    traces = TraceStore()
    assert handle(traces, ORDERS, span_export("orders", [SpanSpec(n, 1) for n in range(1, 1001)])) >= 10
    assert len(traces) == 1000


def flood(traces: TraceStore, service: str, first: int, count: int, bodies: int = 1) -> None:
    """Traces of a service alone, with this many spans each."""
    spans = [SpanSpec(first + n, id) for n in range(count) for id in range(1, bodies + 1)]
    handle(traces, Identity("mesh.local", "service", service), span_export(service, spans))


def test_nobody_pushes_out_a_trace_that_it_joined() -> None:
    traces = TraceStore(max_traces=50, max_bytes=400_000)
    handle(traces, ORDERS, span_export("orders", [SpanSpec(1, id) for id in range(1, 6)]))
    handle(traces, EVIL, span_export("evil", [SpanSpec(1, id) for id in range(1, 11)]))
    for first in range(1000, 20_000, 500):
        flood(traces, "evil", first, 500)
    trace = traces.get(f"{1:032x}")
    assert trace is not None
    assert sum(span.service == "orders" for span in trace.tree) == 5
    assert len(traces) <= 50


def test_spans_spread_over_the_traces_of_others_go_before_those() -> None:
    traces = TraceStore(max_bytes=300_000)
    for number in range(1, 11):
        handle(traces, ORDERS, span_export("orders", [SpanSpec(number, id) for id in range(1, 6)]))
    for number in range(1, 11):
        handle(traces, EVIL, span_export("evil", [SpanSpec(number, id) for id in range(100, 300)]))
    assert traces.size_bytes <= 300_000
    for number in range(1, 11):
        trace = traces.get(f"{number:032x}")
        assert trace is not None
        assert sum(span.service == "orders" for span in trace.tree) == 5


def test_one_service_has_a_share_of_a_trace() -> None:
    traces = TraceStore(max_spans_per_trace=40)
    handle(traces, EVIL, span_export("evil", [SpanSpec(1, id) for id in range(1, 100)]))
    assert (traces.span_count, traces.dropped) == (10, {"full": 89})
    handle(traces, ORDERS, span_export("orders", [SpanSpec(1, id) for id in range(1, 11)]))
    assert traces.span_count == 20


@pytest.mark.parametrize(
    ("start", "end"), [(-BASE_MS, 10), (0, 31 * 365 * 86_400_000), (-2 * 86_400_000, -86_400_000)]
)
def test_absurd_times_are_refused(start: int, end: int) -> None:
    traces = TraceStore(check=SenderCheck(now=lambda: BASE_MS / 1000))
    handle(traces, ORDERS, span_export("orders", [SpanSpec(1, 1, start=start, end=end)]))
    assert (len(traces), traces.dropped) == (0, {"absurd time": 1})
    hours = 3_600_000
    handle(traces, ORDERS, span_export("orders", [SpanSpec(1, 1, start=-20 * hours, end=0)]))
    assert len(traces) == 1


def test_instances_of_other_services_are_refused() -> None:
    owners = {"orders-1": {"orders"}, "shared-1": {"orders", "evil"}}
    traces = TraceStore(check=SenderCheck(lambda node: owners.get(node, ())))
    for number, instance in enumerate(["orders-1", "shared-1", "unknown-1", ""], 1):
        body = span_export("evil", [SpanSpec(number, 1)], instance=instance)
        handle(traces, EVIL, body)
    assert (len(traces), traces.dropped) == (3, {"foreign": 1})


SPANS = st.builds(
    SpanSpec,
    trace=st.integers(1, 12),
    id=st.integers(1, 40),
    parent=st.integers(0, 40),
    name=st.text(max_size=300),
    start=st.integers(0, 1000),
    end=st.integers(0, 1000),
    failed=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["orders", "ingress"]), st.lists(SPANS, max_size=20)), max_size=15))
def test_limits_hold_and_indices_agree_for_any_exports(
    exports: list[tuple[str, list[SpanSpec]]],
) -> None:
    traces = TraceStore(max_traces=5, max_spans_per_trace=8, max_bytes=40_000)
    sent = 0
    for service, spans in exports:
        handle(traces, Identity("mesh.local", "service", service), span_export(service, spans))
        sent += len(spans)
        assert len(traces) <= 5
        assert traces.size_bytes <= 40_000
        full_traces = [traces.get(trace_summary.id) for trace_summary in traces.search(TraceQuery(), 100)]
        trees = [trace.tree for trace in full_traces if trace is not None]
        assert all(0 < len(tree) <= 8 for tree in trees)
        assert sum(len(tree) for tree in trees) == traces.span_count
        kinds = {span.service for tree in trees for span in tree}
        assert sum(traces._bytes_by_service.values()) == traces.size_bytes
        assert set(traces._bytes_by_service) == kinds
        assert traces.stored_total == traces.span_count + traces.evicted
        assert traces.stored_total + traces.dropped.total() == sent
        assert set(traces.services()) == {span.service for tree in trees for span in tree}
        for service_ in traces.services():
            named = {span.operation for tree in trees for span in tree if span.service == service_}
            assert set(traces.operations(service_)) == named
    if not len(traces):
        assert traces.size_bytes == 0


@given(st.binary(max_size=400), st.integers(0, 400))
def test_invalid_bytes_leave_the_store_consistent(garbage: bytes, cut: int) -> None:
    good = span_export("orders", [SpanSpec(1, 1), SpanSpec(1, 2, 1)])
    traces = TraceStore()
    for body in (garbage, good[:cut] + garbage, good[:cut]):
        handle(traces, ORDERS, body)
    for trace in traces.search_full(TraceQuery(), 10):
        assert trace.spans == len(trace.tree)


def test_a_truncated_export_is_malformed() -> None:
    traces = TraceStore()
    handle(traces, ORDERS, span_export("orders", [SpanSpec(1, 1), SpanSpec(1, 2)])[:-3])
    assert traces.dropped == {"malformed": 1}
