"""Answers the health checks by which Envoy readmits ejected instances (see api.trials).

A check is held until the trial of its instance is due, at most HOLD_LIMIT. No request passes through here;
the cost is one held check for each instance that the proxy knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from meshwright.control_plane.api import trials
from meshwright.sidecar import envoy_stats
from meshwright.sidecar.envoy_admin import EnvoyAdminClient, EnvoyAdminError
from meshwright.sidecar.trial_probe import TrialTarget
from meshwright.sidecar.trials import TrialBook, TriedInstance

log = structlog.get_logger(__name__)

TryInstance = Callable[[TrialTarget], Awaitable[str]]
"""Makes a trial and returns why it failed; empty if it passed."""


class TrialGate:
    """The checks of one proxy. The reporter tells it what Envoy has ejected."""

    def __init__(self, workload: str, admin: EnvoyAdminClient, try_instance: TryInstance) -> None:
        self.book = TrialBook()
        self._log = log.bind(workload=workload)
        self._admin = admin
        self._try = try_instance
        self._changed = asyncio.Event()
        self._lock = asyncio.Lock()
        self._read_at = 0.0
        self._healthy: frozenset[TriedInstance] = frozenset()

    async def read_clusters(self) -> Mapping[str, Any]:
        """Envoy's clusters, of which the ejected instances are noted. Raises EnvoyAdminError."""
        book, read_at = self.book, time.monotonic()
        clusters = await self._admin.clusters()
        out = envoy_stats.out_instances(clusters, book.clusters, book.noted)
        if book.observe(out, read_at=read_at, now=time.monotonic()):
            self._changed.set()
            self._changed = asyncio.Event()
        return clusters

    async def answer(self, host: str, headers: Mapping[str, str]) -> int:
        """The status that decides a check of the instance at `host` (`ip:port`). ValueError: not a check."""
        cluster, open_for = headers.get(trials.CLUSTER_HEADER, ""), headers.get(trials.OPEN_FOR_HEADER, "")
        if not cluster or not open_for.isdecimal():
            raise ValueError("not a check of an instance")
        key = TriedInstance(cluster, host)
        protocol = headers.get(trials.PROTOCOL_HEADER, "http")
        target = TrialTarget(key, protocol, headers.get(trials.PATH_HEADER, ""))
        self.book.clusters.add(cluster)
        self.book.check_arrived(key, time.monotonic())
        if not await self._is_in_use(key):
            return 200
        return await self._hold(target, int(open_for) / 1000)

    async def _is_in_use(self, key: TriedInstance) -> bool:
        """Whether Envoy has dealt with the instance: it sends requests there, or ejected it.

        Otherwise it waits for a check that passes, as it does before the first request. The answer is that of
        one reading for all checks that arrived before it.
        """
        arrived = time.monotonic()
        async with self._lock:
            if self._read_at < arrived:
                started = time.monotonic()
                try:
                    clusters = await self.read_clusters()
                except EnvoyAdminError:
                    return False
                self._read_at, self._healthy = started, envoy_stats.healthy_instances(clusters)
        return key in self._healthy or key in self.book.noted

    async def _hold(self, target: TrialTarget, open_for: float) -> int:
        deadline = time.monotonic() + trials.HOLD_LIMIT
        while True:
            changed, now = self._changed, time.monotonic()
            due = self.book.due(target.instance, open_for)
            if due is not None and due <= now:
                return await self._run(target)
            if now >= deadline:
                return trials.UNDECIDED
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), min(deadline, due or deadline) - now)

    async def _run(self, target: TrialTarget) -> int:
        self.book.begin(target.instance)
        try:
            failure = await self._try(target)
        except BaseException:
            self.book.abandon(target.instance)
            raise
        self.book.end(target.instance, passed=not failure, now=time.monotonic())
        cluster, address = target.instance
        if failure:
            self._log.info("trial failed", cluster=cluster, instance=address, reason=failure)
        else:
            self._log.info("trial passed: the instance returns", cluster=cluster, instance=address)
        return trials.FAILED if failure else 200
