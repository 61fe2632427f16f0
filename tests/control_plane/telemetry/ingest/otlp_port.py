"""An OTLP server with every handler behind it, and clients with certificates of the mesh."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc

from meshwright.control_plane.api.spiffe import CONTROL_PLANE_DNS, Identity
from meshwright.control_plane.telemetry.export.client import OtlpExporter
from meshwright.control_plane.telemetry.export.target import ExportTarget
from meshwright.control_plane.telemetry.ingest.queue import Signal
from meshwright.control_plane.telemetry.ingest.server import SERVICES, OtlpServer, SignalHandler
from meshwright.control_plane.telemetry.requests.store import RequestStore
from meshwright.control_plane.telemetry.topology.windows import TrafficWindows
from meshwright.control_plane.telemetry.traces.store import TraceStore
from tests.control_plane.telemetry.span_exports import SpanSpec, span_export
from tests.envoy.xds_lab import until
from tests.fakes.pki import DOMAIN, Pki

SIGNALS: tuple[Signal, ...] = ("metrics", "traces", "logs")


@dataclass
class OtlpPort:
    """A running server and its stores."""

    server: OtlpServer
    traces: TraceStore
    windows: TrafficWindows
    requests: RequestStore
    port: int
    pki: Pki

    def channel(self, name: str) -> grpc.aio.Channel:
        """A new connection with the certificate of a service."""
        options = (
            ("grpc.ssl_target_name_override", CONTROL_PLANE_DNS),
            ("grpc.use_local_subchannel_pool", 1),
        )
        return grpc.aio.secure_channel(f"127.0.0.1:{self.port}", self.pki.client(name), options)

    async def send(self, signal: Signal, body: bytes, name: str = "orders") -> grpc.StatusCode:
        """Send an export; returns the status of the call."""
        async with self.channel(name) as channel:
            call = channel.unary_unary(f"/{SERVICES[signal]}/Export", None, None)
            try:
                await call(body, timeout=60)
            except grpc.aio.AioRpcError as error:
                return error.code()
        return grpc.StatusCode.OK

    async def processed(self) -> None:
        """Wait until every queued message has been processed."""
        await until(lambda: self.server.queue.queued_bytes == 0 and self.server.is_idle, patience=150)

    async def accepts_spans(self) -> bool:
        """Whether a valid span is still stored."""
        before = self.traces.stored_total
        body = span_export("orders", [SpanSpec(before + 1, before + 1)])
        assert await self.send("traces", body) == grpc.StatusCode.OK
        await until(lambda: self.traces.stored_total == before + 1)
        return True


@asynccontextmanager
async def otlp_port(pki: Pki, *, exporting: bool = False) -> AsyncIterator[OtlpPort]:
    """Run a server; with `exporting` every message is also split for a collector that is never called."""
    traces, windows, requests = TraceStore(), TrafficWindows(), RequestStore()
    handlers: dict[Signal, SignalHandler] = {
        "metrics": windows.handle,
        "traces": traces.handle,
        "logs": requests.handle,
    }
    if exporting:
        exporter = OtlpExporter(ExportTarget("127.0.0.1:1", tls=False), SIGNALS)
        handlers = {signal: _tee(exporter, signal, handler) for signal, handler in handlers.items()}
    server = OtlpServer("127.0.0.1", 0, DOMAIN, pki.server(), handlers)
    yield OtlpPort(server, traces, windows, requests, await server.start(), pki)
    await server.stop()


def _tee(exporter: OtlpExporter, signal: Signal, handler: SignalHandler) -> SignalHandler:
    def handle(identity: Identity, body: bytes, now: float) -> Iterator[None]:
        yield from exporter.handle(signal, identity, body)
        yield from handler(identity, body, now)

    return handle
