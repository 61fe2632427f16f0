"""What each service did before a revision was on trial: its last minute, which a trial is compared with.

A service whose proxies all have the revision has no others to be compared with. Every control plane
remembers, whichever leads later. While a revision is on trial nothing is added, so what it did is never
called usual.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from meshwright.control_plane.push.judge import ProxyTraffic
from meshwright.control_plane.reconciler import ConfigReconciler
from meshwright.control_plane.telemetry.topology.counters import UpstreamCounters
from meshwright.control_plane.telemetry.topology.traffic import WINDOW

WINDOWS = 6
"""A minute."""

SERVICES_AT_ONCE = 50
"""Services that are summed up before others get their turn: a few milliseconds."""


class TrafficMemory:
    """The last minute of each service without a change.

    `traffic` returns the requests of the last WINDOW of each proxy of some services.
    """

    def __init__(
        self,
        traffic: Callable[[Iterable[str], Mapping[str, float]], Sequence[ProxyTraffic]],
        reconciler: ConfigReconciler,
    ) -> None:
        self._traffic = traffic
        self._reconciler = reconciler
        self._windows: dict[str, deque[UpstreamCounters]] = {}

    async def run(self) -> None:
        """Remember each WINDOW in which no revision came, was on trial, or was withdrawn, until cancelled."""
        generation = -1
        while True:
            await asyncio.sleep(WINDOW)
            build, last = self._reconciler.published, generation
            generation = build.push.generation if build else -1
            if generation == last and not self._reconciler.push_under_way.is_set():
                await self._remember_all()

    def before(self, services: Iterable[str]) -> Mapping[str, UpstreamCounters]:
        """The last minute of these services; those without traffic are left out."""
        minutes = {}
        for service in services:
            total = UpstreamCounters()
            for window in self._windows.get(service, ()):
                total.add(window)
            if total.completed:
                minutes[service] = total
        return minutes

    async def _remember_all(self) -> None:
        world = self._reconciler.world
        services = sorted({*world.services, *world.gateway_instances})
        for gone in self._windows.keys() - set(services):
            del self._windows[gone]
        for first in range(0, len(services), SERVICES_AT_ONCE):
            self.remember(services[first : first + SERVICES_AT_ONCE])
            await asyncio.sleep(0)

    def remember(self, services: Collection[str]) -> None:
        """Add the window of these services that has just ended."""
        totals: dict[str, UpstreamCounters] = defaultdict(UpstreamCounters)
        for proxy in self._traffic(services, {}):
            totals[proxy.service].add(proxy.counters)
        for service in services:
            self._windows.setdefault(service, deque(maxlen=WINDOWS)).append(totals[service])
