"""The latency of a change to sidecars: an instance moves, and every fake Envoy that calls it notices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from meshwright.control_plane.core.resource import CDS, EDS
from meshwright.control_plane.envoy import v3
from tests.envoy.xds_lab import until
from tests.fakes.envoy import FakeEnvoy
from tests.scale.plane import ControlPlaneProcess

PAUSE = 0.05
"""Seconds between two changes, in addition to the duration of a change."""


class EndpointChanges:
    """Moves the one instance of `back`, and records when each sidecar receives the change."""

    def __init__(
        self, plane: ControlPlaneProcess, envoys: list[FakeEnvoy], channel: grpc.aio.Channel
    ) -> None:
        self._plane, self.envoys, self._channel = plane, envoys, channel
        self._port = 20_000
        self._received_at: list[float] = []
        self._complete = asyncio.Event()
        for envoy in envoys:
            envoy.on_response = self._record

    async def for_seconds(self, seconds: float) -> list[float]:
        """Change endpoints for `seconds`; returns the latencies of all changes and sidecars, sorted."""
        latencies: list[float] = []
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            latencies += await self.once()
            await asyncio.sleep(PAUSE)
        return sorted(latencies)

    async def once(self) -> list[float]:
        """One change; returns the seconds until each sidecar received it."""
        self._port += 1
        self._received_at.clear()
        self._complete.clear()
        start = time.monotonic()
        await self._plane.register(self._channel, self._port)
        async with asyncio.timeout(60):
            await self._complete.wait()
        return [at - start for at in self._received_at]

    def _record(self, response: v3.DeltaDiscoveryResponse) -> None:
        for resource in response.resources if response.type_url == EDS else ():
            assignment = v3.ClusterLoadAssignment.FromString(resource.resource.value)
            ports = {
                host.endpoint.address.socket_address.port_value
                for locality in assignment.endpoints
                for host in locality.lb_endpoints
            }
            if self._port in ports:
                self._received_at.append(time.monotonic())
        if len(self._received_at) == len(self.envoys):
            self._complete.set()


@asynccontextmanager
async def changing_endpoints(plane: ControlPlaneProcess, count: int) -> AsyncIterator[EndpointChanges]:
    """`count` sidecars of `front` that all have the endpoints of `back`."""
    envoys = plane.envoys(count)
    async with plane.channel("back") as channel:
        await plane.register(channel, 20_000)
        changes = EndpointChanges(plane, envoys, channel)
        try:
            for envoy in envoys:
                await envoy.start()
                await envoy.subscribe(CDS, "back")
            await until(lambda: all(envoy.model.resources[EDS] for envoy in envoys))
            yield changes
        finally:
            for envoy in envoys:
                await envoy.close()


def p99(seconds: list[float]) -> float:
    """The 99th percentile of sorted values."""
    return seconds[int(len(seconds) * 0.99)]
