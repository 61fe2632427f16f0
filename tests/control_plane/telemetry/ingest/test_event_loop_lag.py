"""Hostile exports over the real port do not hold up the event loop, which xDS shares."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import grpc
import pytest

from meshwright.control_plane.api.spiffe import CONTROL_PLANE_DNS
from meshwright.control_plane.telemetry.ingest.queue import MAX_MESSAGE_BYTES, Signal
from meshwright.control_plane.telemetry.ingest.server import SERVICES
from tests.control_plane.telemetry.ingest.hostile_exports import HOSTILE, SENDER
from tests.control_plane.telemetry.ingest.otlp_port import OtlpPort, otlp_port
from tests.control_plane.telemetry.loop_lag import LoopLag, measured_lag
from tests.control_plane.telemetry.span_exports import SpanSpec, span_export
from tests.fakes.pki import Pki

AT_ONCE = 8
MAX_LAG = 0.05
"""Seconds that one callback may hold the loop."""

BUSY_FACTOR = 60
"""On a machine so busy that ordinary exports hold the loop, hostile ones may hold it this much longer.
Without parsing in steps the factor is in the hundreds."""


@pytest.fixture
async def port(pki: Pki) -> AsyncIterator[OtlpPort]:
    async with otlp_port(pki, exporting=True) as running:
        yield running


async def lag_of(port: OtlpPort, signal: Signal, body: bytes) -> LoopLag:
    """The lag while a client outside this loop sends a message AT_ONCE times, until all are processed."""
    async with measured_lag() as lag:
        await asyncio.to_thread(_send, port, signal, body)
        await port.processed()
    return lag


def _send(port: OtlpPort, signal: Signal, body: bytes) -> None:
    options = (("grpc.ssl_target_name_override", CONTROL_PLANE_DNS),)
    with grpc.secure_channel(f"127.0.0.1:{port.port}", port.pki.client(SENDER), options) as channel:
        method = channel.unary_unary(f"/{SERVICES[signal]}/Export", None, None)
        codes = {call.code() for call in [method.future(body, timeout=60) for _ in range(AT_ONCE)]}
    # What is more than the identity's share of the queue is refused.
    assert grpc.StatusCode.OK in codes
    assert codes <= {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_exports_do_not_hold_the_event_loop(port: OtlpPort, name: str) -> None:
    signal, build = HOSTILE[name]
    body = build()
    assert len(body) <= MAX_MESSAGE_BYTES
    ordinary = span_export(SENDER, [SpanSpec(number, number) for number in range(1, 500)])
    quiet = await lag_of(port, "traces", ordinary)
    hostile = await lag_of(port, signal, body)
    sys.stdout.write(f"{name}, {len(body)} bytes, {AT_ONCE} at once: {hostile}; ordinary: {quiet}\n")
    assert hostile.cpu < max(MAX_LAG, BUSY_FACTOR * quiet.cpu)
    assert await port.accepts_spans()
