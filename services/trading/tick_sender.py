"""Sends ticks to analytics by gRPC, through the sidecar (`grpc_proxy`).

A tick that does not arrive is counted and dropped, because the next one follows soon.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import grpc
import structlog
from opentelemetry import trace
from opentelemetry.propagate import inject
from prometheus_client import CollectorRegistry, Counter

from meshwright.services.kit.spans import record_failure
from meshwright.services.rpc import market
from meshwright.services.trading.domain import Tick

SEND_TIMEOUT_SECONDS = 5.0
"""Seconds for one tick. Later it would be obsolete."""

MAX_IN_FLIGHT = 64
"""Ticks in flight. Any more are counted as NOT_SENT."""

CHANNEL_OPTIONS = (("grpc.initial_reconnect_backoff_ms", 200), ("grpc.max_reconnect_backoff_ms", 2000))

RPC = {"rpc.system": "grpc", "rpc.service": market.SERVICE, "rpc.method": market.METHOD}
log = structlog.get_logger()
tracer = trace.get_tracer("meshwright.services.trading")


class TickSender:
    """A gRPC channel to analytics, used as an async context manager."""

    def __init__(self, target: str, registry: CollectorRegistry) -> None:
        self._sent = Counter("market_data_sent", "Ticks sent to analytics.", ("code",), registry=registry)
        self._target = target
        self._working: bool | None = None
        self._in_flight: set[asyncio.Task[None]] = set()

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
        for task in self._in_flight:
            task.cancel()
        await asyncio.gather(*self._in_flight, return_exceptions=True)
        await self._channel.close(None)

    def send(self, tick: Tick) -> None:
        """Send a tick in the background; never raises."""
        if len(self._in_flight) >= MAX_IN_FLIGHT:
            self._count("NOT_SENT")
            return
        task = asyncio.create_task(self._send(tick))
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    async def _send(self, tick: Tick) -> None:
        request = market.MarketDataRequest(
            assetSymbol=tick.symbol, price=float(tick.price), timestamp=tick.timestamp
        )
        name, metadata = f"{market.SERVICE}/{market.METHOD}", dict[str, str]()
        with tracer.start_as_current_span(name, kind=trace.SpanKind.CLIENT, attributes=RPC) as span:
            inject(metadata)
            try:
                response = await self._call(
                    request, timeout=SEND_TIMEOUT_SECONDS, metadata=tuple(metadata.items())
                )
            except grpc.aio.AioRpcError as error:
                record_failure(span, error)
                self._count(error.code().name, error.details() or "")
            else:
                self._count("OK" if response.success else "REFUSED")

    def _count(self, code: str, error: str = "") -> None:
        self._sent.labels(code).inc()
        if (working := code == "OK") != self._working:
            self._working = working
            if working:
                log.info("ticks reach analytics")
            else:
                log.warning("ticks do not reach analytics", code=code, error=error)
