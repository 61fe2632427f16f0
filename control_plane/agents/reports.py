"""What sidecars reported of themselves last: kept in memory for a few seconds, never in the store.

A report that is not renewed is forgotten: its agent is gone, or its Envoy does not answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from meshwright.control_plane.api.models.base import ProxyReport
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.errors import PermissionDeniedError

REPORT_TTL = 6.0
"""Seconds that a report counts: three signs of life of an agent (meshwright.sidecar.envoy_stats.SIGN_OF_LIFE)."""

MAX_PROXIES_PER_IDENTITY = 2000
"""Proxies of one identity that are kept: twice the largest mesh that is measured."""


_Noted = tuple[float, ProxyReport, ProxyReport | None]
# When, the report, and what of it is not as it should be.


@dataclass(slots=True)
class ProxyReports:
    """The newest report of each proxy. `now` is any clock that only goes forward, in seconds.

    They are kept apart by identity, so that nobody can speak for a proxy of another service.
    """

    _kept: dict[Identity, dict[str, _Noted]] = field(default_factory=dict)

    def record(self, identity: Identity, report: ProxyReport, now: float) -> None:
        """Keep a report of `identity`; raises RefusedError when it names more and more proxies."""
        nodes = self._kept.setdefault(identity, {})
        if report.node not in nodes and len(nodes) >= MAX_PROXIES_PER_IDENTITY:
            self._forget(now)
            nodes = self._kept.setdefault(identity, {})
            if len(nodes) >= MAX_PROXIES_PER_IDENTITY:
                raise PermissionDeniedError(
                    f"{identity.uri} reports for more than {MAX_PROXIES_PER_IDENTITY} proxies"
                )
        nodes[report.node] = (now, report, _trouble(report))

    def with_age(self, now: float) -> tuple[tuple[float, ProxyReport], ...]:
        """All that still count, each with its age in seconds."""
        self._forget(now)
        return tuple((now - noted, one) for nodes in self._kept.values() for noted, one, _ in nodes.values())

    def current(self, now: float) -> tuple[ProxyReport, ...]:
        """All that still count."""
        self._forget(now)
        return tuple(self._all())

    def unhealthy(self, now: float) -> tuple[ProxyReport, ...]:
        """Those that still count and have clusters that are not as they should be, with these alone.

        They are told apart as they come, so that nobody has to walk what is well.
        """
        self._forget(now)
        kept = (trouble for nodes in self._kept.values() for _, _, trouble in nodes.values())
        return tuple(one for one in kept if one is not None)

    def _all(self) -> Iterator[ProxyReport]:
        for nodes in self._kept.values():
            for _, report, _ in nodes.values():
                yield report

    def _forget(self, now: float) -> None:
        for identity, nodes in list(self._kept.items()):
            for node in [name for name, (noted, _, _) in nodes.items() if now - noted >= REPORT_TTL]:
                del nodes[node]
            if not nodes:
                del self._kept[identity]


def _trouble(report: ProxyReport) -> ProxyReport | None:
    kept = tuple(one for one in report.clusters if one.ejected or one.limited)
    return report.model_copy(update={"clusters": kept}) if kept else None
