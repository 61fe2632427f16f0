"""Traces whose spans are at two control planes are one trace, whichever is queried."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.models.traces import TraceQuery
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.cluster import traces
from meshwright.control_plane.cluster.traces import ClusterTraces
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.telemetry.traces.store import TraceStore
from tests.control_plane.telemetry.span_exports import SpanSpec, span_export
from tests.fakes.members import FakeMembers, connected_members

TRACE, OTHER, SECOND = 0xABCD << 112 | 1, 0xABCE << 112 | 2, 10**9
METHODS = ("ListTraceNames", "MatchTraces", "GetSpans", "GetCallLinks")


def store_spans(store: TraceStore, service: str, *spans: SpanSpec) -> None:
    identity = Identity("mesh.local", "gateway" if service == "ingress" else "service", service)
    for _ in store.handle(identity, span_export(service, list(spans)), 0.0):
        pass


@pytest.fixture
def stores() -> tuple[TraceStore, TraceStore]:
    """Ingress reports to the first control plane, orders to the second; only that has a later trace."""
    first, second = TraceStore(), TraceStore()
    store_spans(first, "ingress", SpanSpec(TRACE, 1, name="in", end=50))
    store_spans(second, "orders", SpanSpec(TRACE, 2, 1, name="out", start=1, end=40, failed=True))
    store_spans(second, "orders", SpanSpec(OTHER, 1, name="tick", start=60_000, end=60_900))
    return first, second


@pytest.fixture
def both(stores: tuple[TraceStore, TraceStore]) -> list[ClusterTraces]:
    return [ClusterTraces(*pair) for pair in zip(stores, connected_members(2), strict=True)]


async def test_get_spans_at_two_control_planes_returns_one_tree(both: list[ClusterTraces]) -> None:
    for traces_at in both:
        trace = await traces_at.get(f"{TRACE:032x}")
        assert trace is not None
        assert [(span.service, span.operation, span.depth) for span in trace.tree] == [
            ("ingress", "in", 0), ("orders", "out", 1),
        ]  # fmt: skip
        assert await traces_at.get(f"{5:032x}") is None


async def test_search_returns_complete_traces_at_both(both: list[ClusterTraces]) -> None:
    for traces_at in both:
        newest, oldest = await traces_at.search(TraceQuery(), 10)
        assert (newest.operation, newest.spans) == ("tick", 1)
        assert (oldest.service, oldest.spans, oldest.errors) == ("ingress", 2, 1)
        assert await traces_at.search(TraceQuery(), 1) == (newest,)
        assert await traces_at.search(TraceQuery(errors=True), 10) == (oldest,)
        assert await traces_at.search(TraceQuery(service="ingress"), 10) == (oldest,)
        assert await traces_at.search(TraceQuery(min_duration=2**70), 10) == ()
        assert [trace.id async for trace in traces_at.search_full(TraceQuery(), 10)] == [newest.id, oldest.id]


async def test_names_and_prefixes_include_those_of_peers(both: list[ClusterTraces]) -> None:
    for traces_at in both:
        assert await traces_at.services() == ("ingress", "orders")
        assert await traces_at.operations("orders") == ("out", "tick")
        assert await traces_at.ids_with_prefix("abc", 9) == (f"{TRACE:032x}", f"{OTHER:032x}")
        assert await traces_at.ids_with_prefix("abcd", 2) == (f"{TRACE:032x}",)
        assert len(await traces_at.ids_with_prefix("abc", 1)) == 1


async def test_dependencies_caller_and_callee_spans_apart_count_once(both: list[ClusterTraces]) -> None:
    for traces_at in both:
        (call,) = await traces_at.dependencies()
        assert (call.caller, call.callee, call.count) == ("ingress", "orders", 1)


async def test_span_received_by_two_control_planes_is_one_span(
    stores: tuple[TraceStore, TraceStore], both: list[ClusterTraces]
) -> None:
    store_spans(stores[0], "orders", SpanSpec(TRACE, 2, 1, name="out", start=1, end=40, failed=True))
    for traces_at in both:
        trace = await traces_at.get(f"{TRACE:032x}")
        assert trace is not None
        assert trace.spans == 2
        assert [service_dependency.count for service_dependency in await traces_at.dependencies()] == [1]


async def test_get_peer_unreachable_returns_local_spans() -> None:
    first, second = TraceStore(), TraceStore()
    members = connected_members(2)
    here, _ = ClusterTraces(first, members[0]), ClusterTraces(second, members[1])
    store_spans(first, "ingress", SpanSpec(TRACE, 1, name="in", end=50))
    store_spans(second, "orders", SpanSpec(TRACE, 2, 1, name="out", end=40))
    members[1].unreachable = True
    trace = await here.get(f"{TRACE:032x}")
    assert trace is not None
    assert trace.spans == 1
    assert await here.services() == ("ingress",)


async def test_search_many_traces_fetches_spans_in_several_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "TRACES_PER_CALL", 2)
    first, second = TraceStore(), TraceStore()
    members = connected_members(2)
    here, _ = ClusterTraces(first, members[0]), ClusterTraces(second, members[1])
    for number in range(1, 8):
        store_spans(
            first if number % 2 else second,
            "orders",
            SpanSpec(number, 1, start=number * 1000, end=number * 1000 + 1),
        )
    assert [int(trace_summary.id, 16) for trace_summary in await here.search(TraceQuery(), 5)] == [
        7,
        6,
        5,
        4,
        3,
    ]


async def test_get_spans_exceed_a_response_count_as_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traces, "MAX_SPAN_BYTES", 150)
    first, second = TraceStore(), TraceStore()
    members = connected_members(2)
    here, _ = ClusterTraces(first, members[0]), ClusterTraces(second, members[1])
    store_spans(second, "orders", *(SpanSpec(TRACE, number, name="n" * 60) for number in range(1, 6)))
    trace = await here.get(f"{TRACE:032x}")
    assert trace is not None
    assert trace.spans + trace.dropped == 5
    assert trace.dropped > 0


@pytest.mark.parametrize("body", [b"", b"\xff\xff\xff\xff", b"\x0a\x02\xff\xff"])
async def test_response_unreadable_is_ignored(body: bytes) -> None:
    near, far = connected_members(2)
    here, _ = ClusterTraces(TraceStore(), near), ClusterTraces(TraceStore(), far)

    far.bodies = dict.fromkeys(METHODS, body)
    assert await here.services() == ()
    assert await here.get(f"{TRACE:032x}") is None
    assert await here.search(TraceQuery(), 3) == ()
    assert await here.dependencies() == ()


@pytest.mark.parametrize("method", METHODS)
async def test_request_unreadable_is_rejected(method: str) -> None:
    near, _ = connected_members(2)
    ClusterTraces(TraceStore(), near)
    with pytest.raises(InputError):
        await near.respond(method, b"[1]")


async def test_search_without_peers_is_local() -> None:
    alone = FakeMembers()
    store = TraceStore()
    store_spans(store, "ingress", SpanSpec(TRACE, 1, name="in", end=50))
    (summary,) = await ClusterTraces(store, alone).search(TraceQuery(), 3)
    assert summary == store.search(TraceQuery(), 3)[0]
