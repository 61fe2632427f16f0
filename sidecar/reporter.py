"""Looks at a proxy every second and tells the control plane what it found: news at once, else a sign of life.

All that is asked each second is a dozen numbers a cluster, and they are read only when they differ from the
last ones.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from meshwright.control_plane.api.models.base import ClusterReport, ProxyReport
from meshwright.sidecar import envoy_stats
from meshwright.sidecar.config import Workload
from meshwright.sidecar.envoy_admin import EnvoyAdminClient, EnvoyAdminError

COLLECT_INTERVAL = 1.0
"""Seconds between looks."""

TOLERANCE = 0.1
"""Seconds by which a sign of life may be early, so that looks a hair under a second apart do not skip one."""


class Reporter:
    """Reports of one proxy. `pid` tells which process it is now, `expires` when its certificate ends.

    `send` delivers a report and says whether it was heard. `figures` is the `host:port` of its metrics.
    """

    def __init__(
        self,
        workload: Workload,
        admin: EnvoyAdminClient,
        *,
        pid: Callable[[], int | None],
        svid_expiry: Callable[[], float],
        send: Callable[[ProxyReport], Awaitable[bool]],
        metrics_address: str,
    ) -> None:
        self._workload = workload
        self._admin = admin
        self._pid = pid
        self._expires = svid_expiry
        self._send = send
        self._figures = metrics_address
        self._process = _ProcessState(None)

    async def run(self) -> None:
        """Look and tell for ever; of a proxy that does not answer there is nothing to tell."""
        await asyncio.sleep(random.random() * COLLECT_INTERVAL)  # noqa: S311  spread, not secrecy
        last: ProxyReport | None = None
        sent = 0.0
        while True:
            try:
                report = await self.collect()
            except (EnvoyAdminError, ValueError):
                self._process = _ProcessState(None)
            else:
                now = time.monotonic()
                if envoy_stats.should_send(last, report, now - sent + TOLERANCE) and await self._send(report):
                    last, sent = report, now
            await asyncio.sleep(COLLECT_INTERVAL)

    async def collect(self) -> ProxyReport:
        """What there is to tell now; raises ProxyError or ValueError when the proxy does not answer well."""
        pid = self._pid()
        if pid != self._process.pid or not self._process.version:
            info = await self._admin.server_info()
            self._process = _ProcessState(
                pid,
                envoy_stats.envoy_version(info) or "unknown",
                time.monotonic() - envoy_stats.envoy_uptime(info),
            )
        seen = self._process
        text = await self._admin.stats(envoy_stats.STATS_PATTERN)
        if text != seen.text or seen.unsteady:
            await self._read(seen, text)
        return ProxyReport(
            node=self._workload.name,
            service=self._workload.service,
            version=seen.version,
            memory=seen.reading.memory,
            expires=self._expires(),
            uptime=max(0, round(time.monotonic() - seen.started)),
            connected=seen.reading.connected,
            metrics=self._figures,
            app_metrics=self._workload.metrics is not None,
            clusters=seen.clusters,
        )

    async def _read(self, seen: _ProcessState, text: str) -> None:
        reading = envoy_stats.parse_stats(text, seen.reading if seen.text else None)
        clusters = reading.clusters
        if reading.has_ejections:
            addresses = envoy_stats.ejected_hosts(await self._admin.clusters())
            clusters = envoy_stats.with_addresses(clusters, addresses)
        # What was refused just now is over when the next look finds the same count.
        seen.unsteady = reading.overflows != seen.reading.overflows
        seen.text, seen.reading, seen.clusters = text, reading, clusters


@dataclass(slots=True)
class _ProcessState:
    """What is known of one process: `unsteady` says that the same text may read differently next time."""

    pid: int | None
    version: str = ""
    started: float = 0.0
    text: str = ""
    reading: envoy_stats.StatsSnapshot = field(default_factory=envoy_stats.StatsSnapshot)
    clusters: tuple[ClusterReport, ...] = ()
    unsteady: bool = False
