"""The store of traces: what it takes, finds, tells, and that nothing makes it outgrow its bounds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from control_plane.api.spiffe import Identity
from control_plane.api.traced import Search
from control_plane.telemetry import metrics
from control_plane.telemetry.traces import Traces
from tests.unit.telemetry.exports import Sent, export

ORDERS, INGRESS = Identity("mesh.local", "service", "orders"), Identity("mesh.local", "gateway", "ingress")


def fold(traces: Traces, identity: Identity, body: bytes) -> int:
    """Take an export whole; returns in how many slices."""
    return sum(1 for _ in traces.take(identity, body, 0.0))


def order() -> Traces:
    """A trace of an order: the ingress, then orders, whose second try fails."""
    traces = Traces()
    spans = [Sent(7, 1, name="ingress", end=50), Sent(7, 2, 1, kind=3, start=1, end=49)]
    fold(traces, INGRESS, export("ingress", spans))
    tried = {"retry.count": "1", "response_flags": "UO,XX"}
    later = [Sent(7, 4, 3, start=5, end=9, failed=True, attributes=tried), Sent(7, 3, 2, start=2, end=48)]
    fold(traces, ORDERS, export("orders", later))
    return traces


def test_spans_of_several_senders_become_one_tree() -> None:
    trace = order().get(f"{7:032x}")
    assert trace is not None
    assert [(int(span.id, 16), span.depth, span.service) for span in trace.tree] == [
        (1, 0, "ingress"), (2, 1, "ingress"), (3, 2, "orders"), (4, 3, "orders"),
    ]  # fmt: skip
    assert (trace.service, trace.operation, trace.duration, trace.errors) == ("ingress", "ingress", 50, 1)
    tried = trace.tree[3]
    assert (tried.attempt, tried.error) == (1, True)
    assert [flag.flag for flag in tried.flags] == ["UO", "XX"]
    assert "CircuitBreaker" in tried.flags[0].kinds


def test_a_search_needs_one_span_that_meets_all() -> None:
    traces = order()
    assert traces.services() == ("ingress", "orders")
    assert traces.operations("ingress") == ("GET /", "ingress")
    long = 45_000_000
    assert len(traces.search(Search(service="orders", min_duration=long), 5)) == 1
    assert len(traces.search(Search(service="orders", errors=True), 5)) == 1
    for nothing in (
        Search(service="ingress", errors=True),
        Search(service="orders", errors=True, min_duration=long),
        Search(service="orders", operation="ingress"),
        Search(service="catalog"),
        Search(start=2**62),
        Search(end=1),
    ):
        assert traces.search(nothing, 5) == ()
    (called,) = traces.dependencies()
    assert (called.caller, called.callee, called.count) == ("ingress", "orders", 1)


def test_nobody_adds_to_a_trace_in_anothers_name() -> None:
    traces = order()
    fold(traces, ORDERS, export("ingress", [Sent(7, 9, 1), Sent(8, 9)]))
    fold(traces, ORDERS, export("orders", [Sent(7, 1, name="painted")]))
    trace = traces.get(f"{7:032x}")
    assert trace is not None
    assert traces.dropped == {"foreign": 2}
    assert {(span.service, span.operation) for span in trace.tree if int(span.id, 16) == 1} == {
        ("ingress", "ingress"),
        ("orders", "painted"),
    }


def test_the_newest_come_first_and_the_oldest_go_first() -> None:
    traces = Traces(traces=3)
    for number in range(1, 6):
        fold(traces, ORDERS, export("orders", [Sent(number, 1, start=number)]))
    assert [int(one.id, 16) for one in traces.search(Search(), 10)] == [5, 4, 3]
    assert traces.get(f"{1:032x}") is None
    assert traces.evicted == 2
    assert traces.named(f"{4:032x}"[:31], 5) == tuple(f"{n:032x}" for n in (5, 4, 3))


def test_who_tells_most_makes_room() -> None:
    traces = Traces(traces=4)
    fold(traces, INGRESS, export("ingress", [Sent(1, 1)]))
    fold(traces, ORDERS, export("orders", [Sent(n, n) for n in range(2, 100)]))
    assert sorted(int(one.id, 16) for one in traces.search(Search(), 10)) == [1, 97, 98, 99]
    fold(traces, INGRESS, export("ingress", [Sent(200, 1), Sent(201, 1), Sent(202, 1)]))
    assert [int(one.id, 16) for one in traces.search(Search(service="orders"), 10)] == [99, 98]


def test_what_is_kept_and_what_is_not_is_measured() -> None:
    def read() -> tuple[float, ...]:
        found = (metrics.SPANS, metrics.SPANS_EVICTED, metrics.SPANS_DROPPED.labels("foreign"))
        return tuple(float(one._value.get()) for one in found)

    before = read()
    traces = Traces(traces=2)
    fold(traces, ORDERS, export("orders", [Sent(n, 1) for n in range(1, 6)]))
    fold(traces, ORDERS, export("users", [Sent(9, 1)]))
    assert tuple(b - a for a, b in zip(before, read(), strict=True)) == (5, 3, 1)
    assert (metrics.TRACES._value.get(), metrics.TRACE_BYTES._value.get()) == (2, traces.size)


def test_a_span_sent_twice_is_kept_once() -> None:
    traces = Traces()
    body = export("orders", [Sent(1, 1)])
    fold(traces, ORDERS, body)
    fold(traces, ORDERS, body)
    assert (traces.spans, traces.dropped) == (1, {"duplicate": 1})


def test_a_ring_of_spans_is_told_once_each() -> None:
    traces = Traces()
    fold(traces, ORDERS, export("orders", [Sent(1, 1, 2), Sent(1, 2, 1), Sent(1, 3, 3)]))
    trace = traces.get(f"{1:032x}")
    assert trace is not None
    assert sorted(int(span.id, 16) for span in trace.tree) == [1, 2, 3]


def test_a_large_export_is_folded_in_slices() -> None:
    traces = Traces()
    assert fold(traces, ORDERS, export("orders", [Sent(n, 1) for n in range(1, 1001)])) >= 10
    assert len(traces) == 1000


SPANS = st.builds(
    Sent,
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
def test_bounds_hold_and_indices_agree_whatever_comes(
    exports: list[tuple[str, list[Sent]]],
) -> None:
    traces = Traces(traces=5, spans=8, size=40_000)
    sent = 0
    for service, spans in exports:
        fold(traces, Identity("mesh.local", "service", service), export(service, spans))
        sent += len(spans)
        assert len(traces) <= 5
        assert traces.size <= 40_000
        found = [traces.get(one.id) for one in traces.search(Search(), 100)]
        trees = [one.tree for one in found if one is not None]
        assert all(0 < len(tree) <= 8 for tree in trees)
        assert sum(len(tree) for tree in trees) == traces.spans
        kinds = {span.service for tree in trees for span in tree}
        assert sum(traces._weights.values()) == traces.size
        assert set(traces._weights) == kinds
        assert traces.taken == traces.spans + traces.evicted
        assert traces.taken + traces.dropped.total() == sent
        assert set(traces.services()) == {span.service for tree in trees for span in tree}
        for service_ in traces.services():
            named = {span.operation for tree in trees for span in tree if span.service == service_}
            assert set(traces.operations(service_)) == named
    if not len(traces):
        assert traces.size == 0


@given(st.binary(max_size=400), st.integers(0, 400))
def test_garbage_is_counted_and_harmless(garbage: bytes, cut: int) -> None:
    good = export("orders", [Sent(1, 1), Sent(1, 2, 1)])
    traces = Traces()
    for body in (garbage, good[:cut] + garbage, good[:cut]):
        fold(traces, ORDERS, body)
    for one in traces.find(Search(), 10):
        assert one.spans == len(one.tree)


def test_a_body_that_breaks_off_is_counted() -> None:
    traces = Traces()
    fold(traces, ORDERS, export("orders", [Sent(1, 1), Sent(1, 2)])[:-3])
    assert traces.dropped == {"malformed": 1}
