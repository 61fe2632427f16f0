"""Hostile spans through the span port of a sidecar: a real Envoy forwards what an app sends."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from meshwright.control_plane.telemetry.ingest.server import SERVICES
from tests.control_plane.telemetry.ingest.hostile_exports import HOSTILE
from tests.control_plane.telemetry.ingest.otlp_port import OtlpPort, otlp_port
from tests.control_plane.telemetry.ingest.test_event_loop_lag import AT_ONCE, BUSY_FACTOR, MAX_LAG
from tests.control_plane.telemetry.loop_lag import LoopLag, measured_lag
from tests.control_plane.telemetry.span_exports import SpanSpec, span_export
from tests.envoy.xds_lab import Lab, until
from tests.fakes.ports import free_port

SPAN_SHAPES = [name for name, (signal, _) in HOSTILE.items() if signal == "traces"]


@dataclass
class Sidecar:
    """The sidecar of the service web: its control plane is in this process, its span port in Envoy."""

    port: OtlpPort
    span_port: int

    async def lag_of(self, body: bytes) -> LoopLag:
        """The lag of the control plane's loop while an app sends an export AT_ONCE times."""
        async with measured_lag() as lag:
            await asyncio.to_thread(self._send, body)
            await self.port.processed()
        return lag

    def _send(self, body: bytes) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{self.span_port}") as channel:
            method = channel.unary_unary(f"/{SERVICES['traces']}/Export", None, None)
            codes = {call.code() for call in [method.future(body, timeout=60) for _ in range(AT_ONCE)]}
        # What is more than the identity's share of the queue is refused.
        assert grpc.StatusCode.OK in codes
        assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}


@pytest.fixture
async def sidecar(tmp_path: Path) -> AsyncIterator[Sidecar]:
    lab = Lab(tmp_path, span_port=free_port())
    async with otlp_port(lab.pki) as port:
        lab.otlp = ("127.0.0.1", port.port)
        await lab.serve()
        lab.start_envoy()
        try:
            await until(lambda: _is_ready(lab))
            sidecar = Sidecar(port, lab.span_port)
            ordinary = span_export("web", [SpanSpec(1, 1)])
            await asyncio.to_thread(sidecar._send, ordinary)
            await until(lambda: port.traces.span_count == 1)
            yield sidecar
        finally:
            await lab.stop()


async def _is_ready(lab: Lab) -> bool:
    return (await lab.admin_get("/ready"))[0] == 200


async def test_hostile_spans_of_an_app_do_not_hold_the_event_loop(sidecar: Sidecar) -> None:
    quiet = await sidecar.lag_of(span_export("web", [SpanSpec(number, number) for number in range(1, 500)]))
    for name in SPAN_SHAPES:
        lag = await sidecar.lag_of(HOSTILE[name][1]())
        sys.stdout.write(f"{name}, {AT_ONCE} at once through Envoy: {lag}; ordinary: {quiet}\n")
        assert lag.cpu < max(MAX_LAG, BUSY_FACTOR * quiet.cpu), name
    before = sidecar.port.traces.stored_total
    await asyncio.to_thread(sidecar._send, span_export("web", [SpanSpec(9_000, 1)]))
    await until(lambda: sidecar.port.traces.stored_total == before + 1)
