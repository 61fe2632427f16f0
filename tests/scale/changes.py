"""How long a change takes to sidecars: an instance that moves, seen by every fake Envoy that calls it."""

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
"""Seconds between two changes, beside the time that one takes."""


class EndpointChanges:
    """Moves the one instance of back to and fro, and notes when each sidecar was told."""

    def __init__(
        self, plane: ControlPlaneProcess, envoys: list[FakeEnvoy], channel: grpc.aio.Channel
    ) -> None:
        self._plane, self.envoys, self._channel = plane, envoys, channel
        self._port = 20_000
        self._heard: list[float] = []
        self._all = asyncio.Event()
        for envoy in envoys:
            envoy.on_response = self._count

    async def for_seconds(self, seconds: float) -> list[float]:
        """Change for so long; the seconds from each change to each sidecar, sorted."""
        values: list[float] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            values += await self.once()
            await asyncio.sleep(PAUSE)
        return sorted(values)

    async def once(self) -> list[float]:
        """One change: the seconds until each sidecar had it."""
        self._port += 1
        self._heard.clear()
        self._all.clear()
        begun = time.monotonic()
        await self._plane.register(self._channel, self._port)
        async with asyncio.timeout(60):
            await self._all.wait()
        return [value - begun for value in self._heard]

    def _count(self, response: v3.DeltaDiscoveryResponse) -> None:
        for resource in response.resources if response.type_url == EDS else ():
            cluster_load_assignment = v3.ClusterLoadAssignment.FromString(resource.resource.value)
            ports = {
                host.endpoint.address.socket_address.port_value
                for locality in cluster_load_assignment.endpoints
                for host in locality.lb_endpoints
            }
            if self._port in ports:
                self._heard.append(time.monotonic())
        if len(self._heard) == len(self.envoys):
            self._all.set()


@asynccontextmanager
async def changing_endpoints(plane: ControlPlaneProcess, count: int) -> AsyncIterator[EndpointChanges]:
    """So many sidecars of front that all know back."""
    envoys = plane.envoys(count)
    async with plane.channel("back") as channel:
        await plane.register(channel, 20_000)
        changes = EndpointChanges(plane, envoys, channel)
        try:
            for envoy in envoys:
                await envoy.start()
                await envoy.subscribe(CDS, "back")
            await until(lambda: all(fake_envoy.model.resources[EDS] for fake_envoy in envoys))
            yield changes
        finally:
            for envoy in envoys:
                await envoy.close()


def p99(seconds: list[float]) -> float:
    """Of sorted values."""
    return seconds[int(len(seconds) * 0.99)]
