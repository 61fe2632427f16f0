"""The latest report of each sidecar: kept in memory for a few seconds, never in the store.

A report that is not renewed expires: its agent is gone, or its Envoy does not respond. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from meshwright.control_plane.api.models.proxies import ProxyReport
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.errors import PermissionDeniedError

REPORT_TTL = 6.0
"""Seconds: three heartbeats of an agent (sidecar.envoy_stats.HEARTBEAT_INTERVAL)."""

MAX_PROXIES_PER_IDENTITY = 2000
"""Proxies of one identity: twice the largest mesh that is benchmarked."""


class _StoredReport(NamedTuple):
    """`unhealthy`: the report with only what is not in order: clusters with ejected hosts or a reached limit,
    and certificates."""

    received_at: float
    report: ProxyReport
    unhealthy: ProxyReport | None


@dataclass(slots=True)
class ProxyReports:
    """The latest report of each proxy. `now` is any monotonic clock, in seconds.

    Reports are kept apart by identity, so that nobody can report for a proxy of another service.
    """

    _by_identity: dict[Identity, dict[str, _StoredReport]] = field(default_factory=dict)

    def record(self, identity: Identity, report: ProxyReport, now: float) -> None:
        """Store a report of `identity`; raises PermissionDeniedError if it reports for too many proxies."""
        nodes = self._by_identity.setdefault(identity, {})
        if report.node not in nodes and len(nodes) >= MAX_PROXIES_PER_IDENTITY:
            self._expire(now)
            nodes = self._by_identity.setdefault(identity, {})
            if len(nodes) >= MAX_PROXIES_PER_IDENTITY:
                message = f"{identity.uri} reports for more than {MAX_PROXIES_PER_IDENTITY} proxies"
                raise PermissionDeniedError(message)
        nodes[report.node] = _StoredReport(now, report, _unhealthy(report))

    def with_age(self, now: float) -> tuple[tuple[float, ProxyReport], ...]:
        """All current reports, each with its age in seconds."""
        return tuple((now - stored.received_at, stored.report) for stored in self._current(now))

    def current(self, now: float) -> tuple[ProxyReport, ...]:
        """All current reports."""
        return tuple(stored.report for stored in self._current(now))

    def unhealthy(self, now: float) -> tuple[ProxyReport, ...]:
        """Current reports of something that is not in order, with that only: clusters and certificates.

        They are picked out on arrival, so that nobody has to search through healthy clusters.
        """
        return tuple(stored.unhealthy for stored in self._current(now) if stored.unhealthy is not None)

    def _current(self, now: float) -> Iterator[_StoredReport]:
        self._expire(now)
        return (stored for nodes in self._by_identity.values() for stored in nodes.values())

    def _expire(self, now: float) -> None:
        for identity, nodes in list(self._by_identity.items()):
            for node in [name for name, stored in nodes.items() if now - stored.received_at >= REPORT_TTL]:
                del nodes[node]
            if not nodes:
                del self._by_identity[identity]


def _unhealthy(report: ProxyReport) -> ProxyReport | None:
    clusters = tuple(cluster for cluster in report.clusters if cluster.ejected or cluster.limited)
    certificates = tuple(entry for entry in report.certificates if entry.state != "valid")
    if not clusters and not certificates:
        return None
    return report.model_copy(update={"clusters": clusters, "certificates": certificates})
