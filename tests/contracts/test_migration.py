"""Legacy hands its quotes over to trading and takes them back, whatever is interrupted on the way."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from meshwright.services.kit.callers import headers_of_caller
from meshwright.services.kit.database import open_database
from meshwright.services.kit.operations import HttpError, OperationRequest
from meshwright.services.legacy import migration as migration_module
from meshwright.services.legacy.app import LegacyApi
from meshwright.services.legacy.domain import MigrationPhase
from meshwright.services.legacy.migration import Migration
from meshwright.services.legacy.store import TABLES, LegacyStore
from meshwright.services.quotes.quote import SetQuoteRequest
from meshwright.services.trading.app import SERVICE as TRADING
from tests.contracts.conftest import Exchange
from tests.services.processes import STAFF, TIMEOUT

PAIRS = [f"{letter}{letter}-USD" for letter in "ABCDEFGHIJ"]


class CrashError(Exception):
    """The process has died."""


@dataclass
class Crash:
    """Ends the process before its `number`th act, or after it: then what it did is done and nobody knows."""

    number: int
    is_after: bool
    count: int = 0

    def wrap(self, target: Any) -> Any:
        """`target` with acts that are counted."""
        return Crashing(target, self)


class Crashing:
    """Forwards each act to the real object, until the crash."""

    def __init__(self, target: Any, crash: Crash) -> None:
        self._target = target
        self._crash = crash

    def __getattr__(self, name: str) -> Any:
        act = getattr(self._target, name)

        async def counted(*arguments: Any) -> Any:
            self._crash.count += 1
            is_last = self._crash.count == self._crash.number
            if is_last and not self._crash.is_after:
                raise CrashError
            result = await act(*arguments)
            if is_last:
                raise CrashError
            return result

        return counted


@dataclass
class Legacy:
    """A replica of legacy whose migration works when the test says so."""

    store: LegacyStore
    exchange: Exchange
    acknowledged: dict[str, tuple[int, int]] = field(default_factory=dict)
    holders: Iterator[int] = field(default_factory=lambda: iter(range(10**6)))

    def migration(self, crash: Crash | None = None) -> Migration:
        """The migration as a new replica sees it."""
        store, client = self.store, self.exchange.client
        if crash:
            store, client = crash.wrap(store), crash.wrap(client)
        return Migration(store, client, f"legacy-{next(self.holders)}", CollectorRegistry())

    async def move(self, phase: MigrationPhase, crash: Crash | None = None) -> None:
        """Work until a phase is reached. After the crash another replica goes on."""
        await self.store.request(phase)
        migration = self.migration(crash)
        async with asyncio.timeout(TIMEOUT):
            while (state := await self.store.state()).phase != phase or state.gate != "open":
                try:
                    await migration.work()
                except CrashError:
                    migration = self.migration()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Dealers set prices all the time, and each reads their own at once."""
        registry = CollectorRegistry()
        api = LegacyApi(self.store, self.exchange.client, self.migration(), registry)

        async def write() -> None:
            for number in range(10**9):
                symbol = PAIRS[number % len(PAIRS)]
                request: Any = OperationRequest({"symbol": symbol}, SetQuoteRequest(price=number + 1), None)
                quote: Any = (await api.set(request)).body
                before = self.acknowledged.get(symbol, (0, 0))
                assert quote.version > before[0], "no version is given twice"
                self.acknowledged[symbol] = (quote.version, quote.price)
                read: Any = (await api.get(request)).body
                assert read.price == quote.price, "a dealer reads what they have set"
                await asyncio.sleep(0.002)

        with as_staff():
            writer = asyncio.create_task(write())
        try:
            yield
        finally:
            writer.cancel()
            [ended] = await asyncio.gather(writer, return_exceptions=True)
            assert isinstance(ended, asyncio.CancelledError), ended

    async def stored(self) -> dict[str, tuple[int, int]]:
        """The version and price of each pair that was written, where the owner keeps it."""
        state = await self.store.state()
        if state.trading_owns:
            page = await self.migration()._page_of_trading("")
        else:
            page = await self.store.page("", 200)
        return {quote.symbol: (quote.version, quote.price) for quote in page if quote.symbol in PAIRS}

    async def check(self) -> None:
        """Nothing that was acknowledged is lost, and both sides are equal while both have the quotes."""
        acknowledged = dict(self.acknowledged)  # before reading: dealers write on
        present = await self.stored()
        for symbol, (version, price) in acknowledged.items():
            assert present[symbol][0] >= version, symbol
            if present[symbol][0] == version:
                assert present[symbol][1] == price, symbol
        if (await self.store.state()).phase in (
            MigrationPhase.BACKFILL,
            MigrationPhase.READ_SHIFT,
            MigrationPhase.WRITE_SHIFT,
        ):
            compared = await self.migration()._compare_under_traffic()
            assert compared.is_equal, compared


@contextmanager
def as_staff() -> Iterator[None]:
    """Calls of trading are for a request of staff."""
    token = headers_of_caller.set(STAFF)
    try:
        yield
    finally:
        headers_of_caller.reset(token)


@pytest.fixture
async def legacy(exchange: Exchange, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Legacy]:
    """Legacy with its first quotes. A replica that stops working is replaced at once."""
    monkeypatch.setattr(migration_module, "LEASE_MS", -1)
    database = await open_database("legacy", "", exchange.data, TABLES)
    store = LegacyStore(database)
    await store.seed(time.time_ns() // 1_000_000)
    yield Legacy(store, exchange)
    await database.close()


async def trip(legacy: Legacy, crashes: Iterator[Crash]) -> None:
    """To the last phase and back, with a crash in each phase."""
    for phase in (*list(MigrationPhase)[1:], *reversed(list(MigrationPhase)[:-1])):
        await legacy.move(phase, next(crashes))
        await legacy.check()


async def test_quotes_move_to_trading_and_back_under_writes_and_crashes(
    exchange: Exchange, legacy: Legacy
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    sys.stdout.write(f"seed {seed}\n")
    rng = random.Random(seed)  # noqa: S311  simulation, not secrecy
    await exchange.serve(TRADING, TICKS_PER_SECOND="0")

    def crashes() -> Iterator[Crash]:
        while True:
            yield Crash(rng.randint(1, 8), rng.random() < 0.5)

    async with legacy.writing():
        await trip(legacy, crashes())
        await legacy.move(MigrationPhase.CLEANUP)
        assert await legacy.store.page("", 1) == [], "legacy keeps nothing"
        await legacy.move(MigrationPhase.LEGACY_ONLY)
    await legacy.check()
    assert len(legacy.acknowledged) == len(PAIRS)


@pytest.mark.long
async def test_quotes_survive_a_crash_at_every_act_of_the_migration(
    exchange: Exchange, legacy: Legacy
) -> None:
    await exchange.serve(TRADING, TICKS_PER_SECOND="0")
    async with legacy.writing():
        for number in range(1, 25):
            for is_after in (False, True):
                crash = (number, is_after)
                await trip(legacy, iter([Crash(*crash) for _ in range(10)]))
    await legacy.check()


async def test_without_trading_legacy_takes_quotes_and_phases_wait(
    legacy: Legacy, exchange: Exchange
) -> None:
    async with legacy.writing():
        await legacy.move(MigrationPhase.DUAL_WRITE)
    await legacy.store.request(MigrationPhase.BACKFILL)
    migration = legacy.migration()
    for _ in range(3):
        await migration.work()
    state = await legacy.store.state()
    assert state.phase == MigrationPhase.DUAL_WRITE
    assert state.error.startswith("trading is unavailable")
    await exchange.serve(TRADING, TICKS_PER_SECOND="0")
    await legacy.move(MigrationPhase.BACKFILL)
    await legacy.check()


async def test_a_quote_that_trading_misses_is_copied_later(exchange: Exchange, legacy: Legacy) -> None:
    await legacy.move(MigrationPhase.DUAL_WRITE)
    first, _ = await legacy.store.set("XAU-USD", 1, 1)
    second, goes_to_trading = await legacy.store.set("XAU-USD", 2, 2)
    assert goes_to_trading
    await legacy.store.copied([first])
    assert await legacy.store.uncopied(9) == [second], "the copy of an earlier quote is not enough"
    await exchange.serve(TRADING, TICKS_PER_SECOND="0")
    assert await legacy.migration().work()
    assert await legacy.store.uncopied(9) == []
    assert await legacy.migration()._page_of_trading("") == [second]


async def test_a_change_of_the_owner_is_given_up_while_trading_does_not_know_of_it(
    exchange: Exchange, legacy: Legacy
) -> None:
    """Quotes of both sides differ, so the phases wait, and dealers do not."""
    await exchange.serve(TRADING, TICKS_PER_SECOND="0")
    await legacy.move(MigrationPhase.READ_SHIFT)
    other = {"symbol": "ZZ-USD", "version": 1, "price": 1, "timestamp": 1}
    copied = await exchange.client.call("PUT", "trading", "/quotes", {"quotes": [other]})
    assert copied.status == 200
    await legacy.store.request(MigrationPhase.CLEANUP)
    migration = legacy.migration()
    for _ in range(4):
        await migration.work()
    state = await legacy.store.state()
    assert (state.phase, state.gate) == (MigrationPhase.READ_SHIFT, "open")
    assert "1 missing in legacy" in state.error
    async with legacy.writing():
        await asyncio.sleep(0)
    await legacy.move(MigrationPhase.BACKFILL)


async def test_trading_takes_no_quotes_while_legacy_owns_them(exchange: Exchange, legacy: Legacy) -> None:
    await exchange.serve(TRADING, TICKS_PER_SECOND="0")
    set_price = ("PUT", "trading", "/api/quotes/XAU-USD", {"price": 3})
    with as_staff():
        assert (await exchange.client.call(*set_price)).code == "legacy_owns_quotes"
        await legacy.move(MigrationPhase.WRITE_SHIFT)
        assert (await exchange.client.call(*set_price)).status == 200
        late = {"quotes": [{"symbol": "XAU-USD", "version": 9, "price": 1, "timestamp": 1}]}
        assert (await exchange.client.call("PUT", "trading", "/quotes", late)).code == "trading_owns_quotes"
        await legacy.move(MigrationPhase.LEGACY_ONLY)
        assert (await exchange.client.call(*set_price)).code == "legacy_owns_quotes"
    quote, _ = await legacy.store.get("XAU-USD")
    assert quote
    assert (quote.version, quote.price) == (2, 3), "what trading took is back"


async def test_a_quote_waits_for_a_new_owner_and_is_refused_when_that_takes_long(
    legacy: Legacy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshwright.services.legacy.app.PATIENCE_SECONDS", 0.1)
    await legacy.move(MigrationPhase.DUAL_WRITE)
    await legacy.store.set_gate(await legacy.store.state(), "frozen")
    api = LegacyApi(legacy.store, legacy.exchange.client, legacy.migration(), CollectorRegistry())
    request: Any = OperationRequest({"symbol": "XAU-USD"}, SetQuoteRequest(price=3), None)
    with pytest.raises(HttpError) as error:
        await api.set(request)
    assert (error.value.status, error.value.code) == (503, "quotes_are_moving")
