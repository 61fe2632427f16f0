"""The state of each edge's circuit breakers, from what the callers' sidecars report."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from meshwright.control_plane.api.models.base import Breaker, BreakerState, ClusterReport, ProxyReport
from meshwright.control_plane.core.attachment import AttachmentPoint, Attachments

KIND = "CircuitBreaker"

_SERVICE = re.compile(r"[^:/]*")
# What stands before a named port (`orders:grpc`) or a subset (`orders/v2`) in a cluster's name.

_WORSE: dict[BreakerState, int] = {"closed": 0, "partial": 1, "open": 2}


def edge_breakers(
    attachments: Attachments, services: Collection[str], reports: Iterable[ProxyReport]
) -> tuple[Breaker, ...]:
    """One for each edge that a sidecar can call and a CircuitBreaker protects, by caller and callee.

    Breakers are kept by each sidecar for itself, and by each cluster of a service (ports, subsets): the worst
    of them stands for the edge, since some calls meet it.
    """
    worst: dict[tuple[str, str], ClusterReport | None] = {}
    for report in reports:
        for cluster in report.clusters:
            to = cluster.cluster if cluster.cluster in services else _service(cluster.cluster)
            edge = (report.service, to)
            if edge not in worst:
                worst[edge] = cluster if to in services and _protected(attachments, edge) else None
                continue
            known = worst[edge]
            if known is not None and _badness(cluster) > _badness(known):
                worst[edge] = cluster
    return tuple(
        _breaker(edge, found) for edge, found in sorted(worst.items(), key=_edge) if found is not None
    )


def breaker_state(cluster: ClusterReport) -> BreakerState:
    """Open when nothing more gets through: every host ejected, or a limit reached."""
    if cluster.limited or (cluster.hosts and cluster.ejected >= cluster.hosts):
        return "open"
    return "partial" if cluster.ejected else "closed"


def _service(cluster: str) -> str:
    found = _SERVICE.match(cluster)
    return found.group() if found else ""


def _protected(attachments: Attachments, edge: tuple[str, str]) -> bool:
    caller, service = edge
    return any(
        bound.kind == KIND
        for bound in attachments.effective_at(AttachmentPoint(service=service, caller=caller))
    )


def _breaker(edge: tuple[str, str], cluster: ClusterReport) -> Breaker:
    return Breaker(
        from_=edge[0],
        to=edge[1],
        state=breaker_state(cluster),
        ejected=cluster.ejected,
        hosts=cluster.hosts,
        limited=cluster.limited,
    )


def _edge(item: tuple[tuple[str, str], object]) -> tuple[str, str]:
    return item[0]


def _badness(cluster: ClusterReport) -> tuple[int, int, int]:
    return _WORSE[breaker_state(cluster)], cluster.ejected, cluster.hosts
