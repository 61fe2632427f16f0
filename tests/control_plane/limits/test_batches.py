"""Batches: one call under way, fair shares, quick failures."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from meshwright.control_plane.errors import StoreError
from meshwright.control_plane.limits import batches
from meshwright.control_plane.limits.batches import LimitBatches
from meshwright.control_plane.store.limit_counters import Bucket, Grant
from tests.fakes.clock import FakeClock

A, B = (Bucket("shop/0", key, 20.0, 5) for key in "ab")


class Counters:
    """A store that grants 5 tokens of each bucket, when it is released."""

    def __init__(self) -> None:
        self.calls: list[dict[Bucket, int]] = []
        self.called, self.released = asyncio.Event(), asyncio.Event()
        self.recovered = asyncio.Event()
        self.failure = ""

    async def take(self, requested: Sequence[tuple[Bucket, int]]) -> list[Grant]:
        before: dict[Bucket, int] = {}
        for call in self.calls:
            for bucket, tokens in call.items():
                before[bucket] = before.get(bucket, 0) + tokens
        self.calls.append(dict(requested))
        self.called.set()
        await self.released.wait()
        if self.failure:
            raise StoreError(self.failure)
        if not requested:
            asyncio.get_running_loop().call_soon(self.recovered.set)
        grants = []
        for bucket, tokens in requested:
            free = max(5 - before.get(bucket, 0), 0)
            grants.append(Grant(min(tokens, free), max(free - tokens, 0), 100, 20))
        return grants


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def reports() -> list[str]:
    return []


@pytest.fixture
def limits(counters: Counters, clock: FakeClock, reports: list[str]) -> LimitBatches:
    return LimitBatches(counters.take, reports.append, clock)


async def test_requests_that_wait_share_one_call_in_the_order_in_which_they_came(
    limits: LimitBatches, counters: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "TIMEOUT", 60)
    first = asyncio.create_task(limits.take(A, 1))
    await counters.called.wait()
    others = [asyncio.create_task(limits.take(A, hits)) for hits in (2, 1, 1, 1)]
    others.append(asyncio.create_task(limits.take(B, 1)))
    await asyncio.sleep(0)
    counters.released.set()
    assert (await first).granted == 1
    assert [grant.granted for grant in await asyncio.gather(*others)] == [2, 1, 1, 0, 1]
    assert counters.calls == [{A: 1}, {A: 5, B: 1}]


async def test_after_a_failure_requests_fail_at_once_until_the_store_answers(
    limits: LimitBatches, counters: Counters, reports: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "PAUSE", 0.001)
    counters.released.set()
    counters.failure = "it cannot be reached"
    with pytest.raises(StoreError, match="cannot be reached"):
        await limits.take(A, 1)
    with pytest.raises(StoreError):
        await limits.take(B, 1)
    assert [call for call in counters.calls if call] == [{A: 1}]
    counters.failure = ""
    await asyncio.wait_for(counters.recovered.wait(), 60)
    assert "onFailure" in reports[0]
    assert (await limits.take(B, 1)).granted == 1
    assert reports[-1] == ""


async def test_a_store_that_does_not_answer_fails_all_that_wait(
    limits: LimitBatches, counters: Counters
) -> None:
    waiting = [asyncio.create_task(limits.take(bucket, 1)) for bucket in (A, B, A)]
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [StoreError] * 3


async def test_what_waits_is_bounded(
    limits: LimitBatches, counters: Counters, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "MAX_WAITING", 2)
    monkeypatch.setattr(batches, "TIMEOUT", 60)
    waiting = [asyncio.create_task(limits.take(A, 1)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(StoreError, match="too many"):
        await limits.take(A, 1)
    counters.released.set()
    await asyncio.gather(*waiting)
