"""Trading's market: generates ticks, stores them and sends them to analytics; `quotes` has its API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import structlog
from opentelemetry import trace

from meshwright.services.kit.background import background
from meshwright.services.kit.operations import DatabaseUnavailableError, Operation
from meshwright.services.kit.service import Runtime, ServiceDefinition
from meshwright.services.trading import domain
from meshwright.services.trading.quote_store import QuoteStore
from meshwright.services.trading.quotes import QuotesApi
from meshwright.services.trading.shocks import shock
from meshwright.services.trading.store import TABLES, TickStore
from meshwright.services.trading.tick_sender import TickSender

log = structlog.get_logger()
tracer = trace.get_tracer("meshwright.services.trading")


class TickGenerator:
    """Generates ticks of every symbol at the configured rate."""

    def __init__(self, settings: domain.MarketSettings, store: TickStore, sender: TickSender) -> None:
        self._settings = settings
        self._store = store
        self._sender = sender
        self._interval_ms = 1000 / settings.rate if settings.rate else 0.0

    async def run(self) -> None:
        """Generate until cancelled. While the database does not respond, ticks are skipped."""
        if not self._interval_ms:
            return
        next_at = asyncio.get_running_loop().time()
        while True:
            try:
                await self._generate(time.time_ns() // 1_000_000)
            except DatabaseUnavailableError:
                log.error("tick skipped", exc_info=True)
            now = asyncio.get_running_loop().time()
            next_at = max(next_at + self._interval_ms / 1000, now)
            await asyncio.sleep(next_at - now)

    async def _generate(self, now: int) -> None:
        def next_if_due(symbol: str, last: domain.Tick | None) -> domain.Tick | None:
            if not domain.is_due(last, now, self._interval_ms):
                return None
            number = last.number + 1 if last else 0
            return domain.next_tick(symbol, last, shock(self._settings.seed, symbol, number), now)

        with tracer.start_as_current_span("tick"):
            for tick in await self._store.advance(domain.MARKETS, next_if_due):
                self._sender.send(tick)


async def build_operations(runtime: Runtime) -> Sequence[Operation]:
    """Start the market."""
    settings = domain.read_market_settings(runtime.environ)
    store = TickStore(runtime.database)
    sender = TickSender(settings.analytics, runtime.registry)
    await runtime.exit_stack.enter_async_context(sender)
    generator = TickGenerator(settings, store, sender)
    await runtime.exit_stack.enter_async_context(background(generator.run()))
    return QuotesApi(store, QuoteStore(runtime.database)).operations()


SERVICE = ServiceDefinition("trading", TABLES, build_operations)
