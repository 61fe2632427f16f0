"""Traces whose spans are on two control planes are one trace, whoever is asked."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.models.traces import TraceQuery
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.cluster import traces as shared
from meshwright.control_plane.cluster.traces import ClusterTraces
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.telemetry.traces.store import TraceStore
from tests.control_plane.telemetry.exports import SpanSpec, span_export
from tests.fakes.members import FakeMembers, connected_members

TRACE, OTHER, SECOND = 0xABCD << 112 | 1, 0xABCE << 112 | 2, 10**9


def take(store: TraceStore, service: str, *spans: SpanSpec) -> None:
    identity = Identity("mesh.local", "gateway" if service == "ingress" else "service", service)
    for _ in store.handle(identity, span_export(service, list(spans)), 0.0):
        pass


@pytest.fixture
def stores() -> tuple[TraceStore, TraceStore]:
    """Ingress tells the first control plane, orders the second; a later trace is on the second alone."""
    first, second = TraceStore(), TraceStore()
    take(first, "ingress", SpanSpec(TRACE, 1, name="in", end=50))
    take(second, "orders", SpanSpec(TRACE, 2, 1, name="out", start=1, end=40, failed=True))
    take(second, "orders", SpanSpec(OTHER, 1, name="tick", start=60_000, end=60_900))
    return first, second


@pytest.fixture
def both(stores: tuple[TraceStore, TraceStore]) -> list[ClusterTraces]:
    return [ClusterTraces(*pair) for pair in zip(stores, connected_members(2), strict=True)]


async def test_a_trace_is_one_tree_wherever_its_spans_came(both: list[ClusterTraces]) -> None:
    for each in both:
        found = await each.get(f"{TRACE:032x}")
        assert found is not None
        assert [(one.service, one.operation, one.depth) for one in found.tree] == [
            ("ingress", "in", 0), ("orders", "out", 1),
        ]  # fmt: skip
        assert await each.get(f"{5:032x}") is None


async def test_what_is_found_is_whole_and_the_same_everywhere(both: list[ClusterTraces]) -> None:
    for each in both:
        newest, oldest = await each.search(TraceQuery(), 10)
        assert (newest.operation, newest.spans) == ("tick", 1)
        assert (oldest.service, oldest.spans, oldest.errors) == ("ingress", 2, 1)
        assert await each.search(TraceQuery(), 1) == (newest,)
        assert await each.search(TraceQuery(errors=True), 10) == (oldest,)
        assert await each.search(TraceQuery(service="ingress"), 10) == (oldest,)
        assert [one.id async for one in each.search_full(TraceQuery(), 10)] == [newest.id, oldest.id]


async def test_names_and_prefixes_are_everyones(both: list[ClusterTraces]) -> None:
    for each in both:
        assert await each.services() == ("ingress", "orders")
        assert await each.operations("orders") == ("out", "tick")
        assert await each.ids_with_prefix("abc", 9) == (f"{TRACE:032x}", f"{OTHER:032x}")
        assert await each.ids_with_prefix("abcd", 2) == (f"{TRACE:032x}",)
        assert len(await each.ids_with_prefix("abc", 1)) == 1


async def test_a_call_whose_ends_are_apart_counts_once(both: list[ClusterTraces]) -> None:
    for each in both:
        (call,) = await each.dependencies()
        assert (call.caller, call.callee, call.count) == ("ingress", "orders", 1)


async def test_a_span_that_came_twice_is_one(
    stores: tuple[TraceStore, TraceStore], both: list[ClusterTraces]
) -> None:
    take(stores[0], "orders", SpanSpec(TRACE, 2, 1, name="out", start=1, end=40, failed=True))
    for each in both:
        found = await each.get(f"{TRACE:032x}")
        assert found is not None
        assert found.spans == 2
        assert [one.count for one in await each.dependencies()] == [1]


async def test_one_that_is_away_takes_its_part_only() -> None:
    first, second = TraceStore(), TraceStore()
    wires = connected_members(2)
    here, _ = ClusterTraces(first, wires[0]), ClusterTraces(second, wires[1])
    take(first, "ingress", SpanSpec(TRACE, 1, name="in", end=50))
    take(second, "orders", SpanSpec(TRACE, 2, 1, name="out", end=40))
    wires[1].unreachable = True
    found = await here.get(f"{TRACE:032x}")
    assert found is not None
    assert found.spans == 1
    assert await here.services() == ("ingress",)


async def test_many_traces_come_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "AT_ONCE", 2)
    first, second = TraceStore(), TraceStore()
    wires = connected_members(2)
    here, _ = ClusterTraces(first, wires[0]), ClusterTraces(second, wires[1])
    for number in range(1, 8):
        take(
            first if number % 2 else second,
            "orders",
            SpanSpec(number, 1, start=number * 1000, end=number * 1000 + 1),
        )
    assert [int(one.id, 16) for one in await here.search(TraceQuery(), 5)] == [7, 6, 5, 4, 3]


async def test_spans_beyond_an_answer_count_as_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "ANSWER_SIZE", 150)
    first, second = TraceStore(), TraceStore()
    wires = connected_members(2)
    here, _ = ClusterTraces(first, wires[0]), ClusterTraces(second, wires[1])
    take(second, "orders", *(SpanSpec(TRACE, number, name="n" * 60) for number in range(1, 6)))
    found = await here.get(f"{TRACE:032x}")
    assert found is not None
    assert found.spans + found.dropped == 5
    assert found.dropped > 0


@pytest.mark.parametrize("answer", [b"", b"\xff\xff\xff\xff", b"\0\0\0\2[]x", b"\0\0\0\2{}\xff\xff"])
async def test_an_answer_that_is_none_is_passed_over(answer: bytes) -> None:
    near, far = connected_members(2)
    here, _ = ClusterTraces(TraceStore(), near), ClusterTraces(TraceStore(), far)

    async def garbage(_request: bytes) -> bytes:
        return answer

    far.methods = dict.fromkeys(far.methods, garbage)
    assert await here.services() == ()
    assert await here.get(f"{TRACE:032x}") is None
    assert await here.search(TraceQuery(), 3) == ()
    assert await here.dependencies() == ()


@pytest.mark.parametrize("method", ["TraceNames", "TraceMatches", "TraceSpans", "TraceLinks"])
async def test_a_question_that_is_none_is_refused(method: str) -> None:
    near, _ = connected_members(2)
    ClusterTraces(TraceStore(), near)
    with pytest.raises(InputError):
        await near.methods[method](b"[1]")


async def test_alone_nobody_is_asked() -> None:
    alone = FakeMembers()
    store = TraceStore()
    take(store, "ingress", SpanSpec(TRACE, 1, name="in", end=50))
    (found,) = await ClusterTraces(store, alone).search(TraceQuery(), 3)
    assert found == store.search(TraceQuery(), 3)[0]
