"""Traces whose spans are on two control planes are one trace, whoever is asked."""

from __future__ import annotations

import pytest

from control_plane.api.spiffe import Identity
from control_plane.api.traced import Search
from control_plane.errors import InputError
from control_plane.peers import traces as shared
from control_plane.peers.traces import SharedTraces
from control_plane.telemetry.traces import Traces
from tests.fakes.peers import Reached, connected
from tests.unit.telemetry.exports import Sent, export

TRACE, OTHER, SECOND = 0xABCD << 112 | 1, 0xABCE << 112 | 2, 10**9


def take(store: Traces, service: str, *spans: Sent) -> None:
    identity = Identity("mesh.local", "gateway" if service == "ingress" else "service", service)
    for _ in store.take(identity, export(service, list(spans)), 0.0):
        pass


@pytest.fixture
def stores() -> tuple[Traces, Traces]:
    """Ingress tells the first control plane, orders the second; a later trace is on the second alone."""
    first, second = Traces(), Traces()
    take(first, "ingress", Sent(TRACE, 1, name="in", end=50))
    take(second, "orders", Sent(TRACE, 2, 1, name="out", start=1, end=40, failed=True))
    take(second, "orders", Sent(OTHER, 1, name="tick", start=60_000, end=60_900))
    return first, second


@pytest.fixture
def both(stores: tuple[Traces, Traces]) -> list[SharedTraces]:
    return [SharedTraces(*pair) for pair in zip(stores, connected(2), strict=True)]


async def test_a_trace_is_one_tree_wherever_its_spans_came(both: list[SharedTraces]) -> None:
    for each in both:
        found = await each.get(f"{TRACE:032x}")
        assert found is not None
        assert [(one.service, one.operation, one.depth) for one in found.tree] == [
            ("ingress", "in", 0), ("orders", "out", 1),
        ]  # fmt: skip
        assert await each.get(f"{5:032x}") is None


async def test_what_is_found_is_whole_and_the_same_everywhere(both: list[SharedTraces]) -> None:
    for each in both:
        newest, oldest = await each.search(Search(), 10)
        assert (newest.operation, newest.spans) == ("tick", 1)
        assert (oldest.service, oldest.spans, oldest.errors) == ("ingress", 2, 1)
        assert await each.search(Search(), 1) == (newest,)
        assert await each.search(Search(errors=True), 10) == (oldest,)
        assert await each.search(Search(service="ingress"), 10) == (oldest,)
        assert [one.id async for one in each.find(Search(), 10)] == [newest.id, oldest.id]


async def test_names_and_prefixes_are_everyones(both: list[SharedTraces]) -> None:
    for each in both:
        assert await each.services() == ("ingress", "orders")
        assert await each.operations("orders") == ("out", "tick")
        assert await each.named("abc", 9) == (f"{TRACE:032x}", f"{OTHER:032x}")
        assert await each.named("abcd", 2) == (f"{TRACE:032x}",)
        assert len(await each.named("abc", 1)) == 1


async def test_a_call_whose_ends_are_apart_counts_once(both: list[SharedTraces]) -> None:
    for each in both:
        (call,) = await each.dependencies()
        assert (call.caller, call.callee, call.count) == ("ingress", "orders", 1)


async def test_a_span_that_came_twice_is_one(stores: tuple[Traces, Traces], both: list[SharedTraces]) -> None:
    take(stores[0], "orders", Sent(TRACE, 2, 1, name="out", start=1, end=40, failed=True))
    for each in both:
        found = await each.get(f"{TRACE:032x}")
        assert found is not None
        assert found.spans == 2
        assert [one.count for one in await each.dependencies()] == [1]


async def test_one_that_is_away_takes_its_part_only() -> None:
    first, second = Traces(), Traces()
    wires = connected(2)
    here, _ = SharedTraces(first, wires[0]), SharedTraces(second, wires[1])
    take(first, "ingress", Sent(TRACE, 1, name="in", end=50))
    take(second, "orders", Sent(TRACE, 2, 1, name="out", end=40))
    wires[1].away = True
    found = await here.get(f"{TRACE:032x}")
    assert found is not None
    assert found.spans == 1
    assert await here.services() == ("ingress",)


async def test_many_traces_come_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "AT_ONCE", 2)
    first, second = Traces(), Traces()
    wires = connected(2)
    here, _ = SharedTraces(first, wires[0]), SharedTraces(second, wires[1])
    for number in range(1, 8):
        take(
            first if number % 2 else second,
            "orders",
            Sent(number, 1, start=number * 1000, end=number * 1000 + 1),
        )
    assert [int(one.id, 16) for one in await here.search(Search(), 5)] == [7, 6, 5, 4, 3]


async def test_spans_beyond_an_answer_count_as_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "ANSWER_SIZE", 150)
    first, second = Traces(), Traces()
    wires = connected(2)
    here, _ = SharedTraces(first, wires[0]), SharedTraces(second, wires[1])
    take(second, "orders", *(Sent(TRACE, number, name="n" * 60) for number in range(1, 6)))
    found = await here.get(f"{TRACE:032x}")
    assert found is not None
    assert found.spans + found.dropped == 5
    assert found.dropped > 0


@pytest.mark.parametrize("answer", [b"", b"\xff\xff\xff\xff", b"\0\0\0\2[]x", b"\0\0\0\2{}\xff\xff"])
async def test_an_answer_that_is_none_is_passed_over(answer: bytes) -> None:
    near, far = connected(2)
    here, _ = SharedTraces(Traces(), near), SharedTraces(Traces(), far)

    async def garbage(_request: bytes) -> bytes:
        return answer

    far.served = dict.fromkeys(far.served, garbage)
    assert await here.services() == ()
    assert await here.get(f"{TRACE:032x}") is None
    assert await here.search(Search(), 3) == ()
    assert await here.dependencies() == ()


@pytest.mark.parametrize("method", ["TraceNames", "TraceMatches", "TraceSpans", "TraceLinks"])
async def test_a_question_that_is_none_is_refused(method: str) -> None:
    near, _ = connected(2)
    SharedTraces(Traces(), near)
    with pytest.raises(InputError):
        await near.served[method](b"[1]")


async def test_alone_nobody_is_asked() -> None:
    alone = Reached()
    store = Traces()
    take(store, "ingress", Sent(TRACE, 1, name="in", end=50))
    (found,) = await SharedTraces(store, alone).search(Search(), 3)
    assert found == store.search(Search(), 3)[0]
