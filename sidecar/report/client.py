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

from control_plane.api.types import ClusterReport, ProxyReport
from sidecar.config import Workload
from sidecar.proxy.client import ProxyAdmin, ProxyError
from sidecar.report import stats

LOOK_EVERY = 1.0
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
        admin: ProxyAdmin,
        *,
        pid: Callable[[], int | None],
        expires: Callable[[], float],
        send: Callable[[ProxyReport], Awaitable[bool]],
        figures: str,
    ) -> None:
        self._workload = workload
        self._admin = admin
        self._pid = pid
        self._expires = expires
        self._send = send
        self._figures = figures
        self._seen = _Seen(None)

    async def run(self) -> None:
        """Look and tell for ever; of a proxy that does not answer there is nothing to tell."""
        await asyncio.sleep(random.random() * LOOK_EVERY)  # noqa: S311  spread, not secrecy
        last: ProxyReport | None = None
        sent = 0.0
        while True:
            try:
                report = await self.look()
            except (ProxyError, ValueError):
                self._seen = _Seen(None)
            else:
                now = time.monotonic()
                if stats.due(last, report, now - sent + TOLERANCE) and await self._send(report):
                    last, sent = report, now
            await asyncio.sleep(LOOK_EVERY)

    async def look(self) -> ProxyReport:
        """What there is to tell now; raises ProxyError or ValueError when the proxy does not answer well."""
        pid = self._pid()
        if pid != self._seen.pid or not self._seen.version:
            info = await self._admin.server_info()
            self._seen = _Seen(pid, stats.version(info) or "unknown", time.monotonic() - stats.uptime(info))
        seen = self._seen
        text = await self._admin.stats(stats.PATTERN)
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

    async def _read(self, seen: _Seen, text: str) -> None:
        reading = stats.read(text, seen.reading if seen.text else None)
        clusters = reading.clusters
        if reading.ejected:
            addresses = stats.ejected_hosts(await self._admin.clusters())
            clusters = stats.with_addresses(clusters, addresses)
        # What was refused just now is over when the next look finds the same count.
        seen.unsteady = reading.refused != seen.reading.refused
        seen.text, seen.reading, seen.clusters = text, reading, clusters


@dataclass(slots=True)
class _Seen:
    """What is known of one process: `unsteady` says that the same text may read differently next time."""

    pid: int | None
    version: str = ""
    started: float = 0.0
    text: str = ""
    reading: stats.Reading = field(default_factory=stats.Reading)
    clusters: tuple[ClusterReport, ...] = ()
    unsteady: bool = False
