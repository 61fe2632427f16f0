"""Reports a proxy's state to the control plane: changes within a second, otherwise a heartbeat.

Each second costs about a dozen numbers per cluster, which are parsed only when the text differs.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from meshwright.control_plane.api.models.proxies import (
    MAX_CERTIFICATES,
    CertificateReport,
    ClusterReport,
    ProxyReport,
)
from meshwright.control_plane.api.software_version import VERSION
from meshwright.sidecar import envoy_stats
from meshwright.sidecar.config import Workload
from meshwright.sidecar.envoy_admin import EnvoyAdminClient, EnvoyAdminError
from meshwright.sidecar.trial_gate import TrialGate

COLLECT_INTERVAL = 1.0
"""Seconds between collections."""

TOLERANCE = 0.1
"""Seconds by which a heartbeat may be early, so that a slightly early collection does not skip it."""


class Reporter:
    """Reports one proxy. `pid` and `svid_expiry` return the present values.

    `send` delivers a report and returns whether it arrived. `metrics_address` returns the `host:port` of the
    proxy's metrics, or nothing while it is unknown. `certificates` returns the state of those it serves.
    """

    def __init__(
        self,
        workload: Workload,
        admin: EnvoyAdminClient,
        *,
        pid: Callable[[], int | None],
        svid_expiry: Callable[[], float],
        send: Callable[[ProxyReport], Awaitable[bool]],
        metrics_address: Callable[[], str],
        gate: TrialGate,
        certificates: Callable[[], tuple[CertificateReport, ...]] = tuple,
    ) -> None:
        self._workload = workload
        self._admin = admin
        self._pid = pid
        self._svid_expiry = svid_expiry
        self._send = send
        self._metrics_address = metrics_address
        self._gate = gate
        self._certificates = certificates
        self._process = _ProcessState(None)

    async def run(self) -> None:
        """Collect and send until cancelled. A proxy that does not respond has no report."""
        await asyncio.sleep(random.random() * COLLECT_INTERVAL)  # noqa: S311  jitter, not secrecy
        last: ProxyReport | None = None
        sent_at = 0.0
        while True:
            try:
                report = await self.collect()
            except (EnvoyAdminError, ValueError):
                self._process = _ProcessState(None)
            else:
                now = time.monotonic()
                if envoy_stats.should_send(last, report, now - sent_at + TOLERANCE) and await self._send(
                    report
                ):
                    last, sent_at = report, now
            await asyncio.sleep(COLLECT_INTERVAL)

    async def collect(self) -> ProxyReport:
        """The proxy's present state. Raises EnvoyAdminError, or ValueError for an unexpected response."""
        pid = self._pid()
        if pid != self._process.pid or not self._process.version:
            info = await self._admin.server_info()
            self._process = _ProcessState(
                pid,
                envoy_stats.envoy_version(info) or "unknown",
                time.monotonic() - envoy_stats.envoy_uptime(info),
            )
        process = self._process
        text, open_streams = envoy_stats.split_active(await self._admin.stats(envoy_stats.STATS_PATTERN))
        if text != process.text or process.momentary or self._gate.book.is_open:
            await self._update(process, text)
        return ProxyReport(
            node=self._workload.name,
            service=self._workload.service,
            version=process.version,
            agent=VERSION,
            memory=process.stats.memory,
            expires=self._svid_expiry(),
            uptime=max(0, round(time.monotonic() - process.started)),
            connected=process.stats.connected,
            open_streams=open_streams,
            metrics=self._metrics_address(),
            app_metrics=self._workload.metrics is not None,
            clusters=process.clusters,
            certificates=self._certificates()[:MAX_CERTIFICATES],
        )

    async def _update(self, process: _ProcessState, text: str) -> None:
        stats = envoy_stats.parse_stats(text, process.stats if process.text else None)
        clusters, gate = stats.clusters, self._gate
        if stats.has_ejections or gate.book.is_open:
            response = await gate.read_clusters()
            clusters = envoy_stats.with_addresses(clusters, envoy_stats.ejected_hosts(response))
            out = envoy_stats.out_instances(response, gate.book.clusters, gate.book.noted)
            clusters = envoy_stats.with_trials(clusters, out, gate.book.collect())
        elif gate.book.clusters:
            clusters = envoy_stats.with_trials(clusters, (), gate.book.collect())
        # An overflow ends when the next collection has the same count, a trial is shown once.
        process.momentary = stats.overflows != process.stats.overflows or any(
            cluster.half_open for cluster in clusters
        )
        process.text, process.stats, process.clusters = text, stats, clusters


@dataclass(slots=True)
class _ProcessState:
    """What was collected from one process. `momentary`: the same text may mean something else next time."""

    pid: int | None
    version: str = ""
    started: float = 0.0
    text: str = ""
    stats: envoy_stats.StatsSnapshot = field(default_factory=envoy_stats.StatsSnapshot)
    clusters: tuple[ClusterReport, ...] = ()
    momentary: bool = False
