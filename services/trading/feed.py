"""Ticks on their way to analytics, by gRPC and by name: the sidecar (`grpc_proxy`) finds it and protects it.

A tick that does not arrive is counted and let go; the next one is on its way already.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import grpc
import structlog
from prometheus_client import CollectorRegistry, Counter

from meshwright.services.kit import market
from meshwright.services.trading.domain import Tick

SEND_TIMEOUT_SECONDS = 5.0
"""How long one tick may try; an older one is of no use."""

MAX_IN_FLIGHT = 64
"""Ticks under way at a time; what comes on top is counted as NOT_SENT."""

CHANNEL_OPTIONS = (("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 2000))

log = structlog.get_logger()


class TickSender:
    """A channel to analytics; use it as an async context manager."""

    def __init__(self, target: str, registry: CollectorRegistry) -> None:
        self._sent = Counter("market_data_sent", "Ticks sent to analytics", ("code",), registry=registry)
        self._target = target
        self._arrives: bool | None = None
        self._under_way: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(self._target, options=list(CHANNEL_OPTIONS))
        self._call = self._channel.unary_unary(
            f"/{market.SERVICE}/{market.METHOD}",
            request_serializer=market.MarketDataRequest.SerializeToString,
            response_deserializer=market.MarketDataResponse.FromString,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._channel.close(None)

    def send(self, tick: Tick) -> None:
        """Send a tick without waiting for what becomes of it; never raises."""
        if len(self._under_way) >= MAX_IN_FLIGHT:
            self._count("NOT_SENT")
            return
        task = asyncio.create_task(self._send(tick))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _send(self, tick: Tick) -> None:
        request = market.MarketDataRequest(
            assetSymbol=tick.symbol, price=float(tick.price), timestamp=tick.timestamp
        )
        try:
            answer = await self._call(request, timeout=SEND_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as failure:
            self._count(failure.code().name, failure.details() or "")
        else:
            self._count("OK" if answer.success else "REFUSED")

    def _count(self, code: str, why: str = "") -> None:
        self._sent.labels(code).inc()
        if (arrives := code == "OK") != self._arrives:
            self._arrives = arrives
            if arrives:
                log.info("ticks arrive at analytics")
            else:
                log.warning("ticks do not arrive at analytics", code=code, error=why)
