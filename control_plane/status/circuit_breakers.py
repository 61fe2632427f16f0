"""The state of each edge's circuit breaker, from what the callers' sidecars report. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from meshwright.control_plane.api.cluster_names import is_external_node, parse_cluster_name
from meshwright.control_plane.api.models.proxies import ClusterReport, ProxyReport
from meshwright.control_plane.api.models.topology import Breaker, BreakerState
from meshwright.control_plane.core.attachment import Attachments, edge_point

KIND = "CircuitBreaker"

_SEVERITY: dict[BreakerState, int] = {"closed": 0, "half-open": 1, "partial": 2, "open": 3}


def edge_breakers(
    attachments: Attachments, services: Collection[str], reports: Iterable[ProxyReport]
) -> tuple[Breaker, ...]:
    """One breaker per edge that a CircuitBreaker policy protects, by caller and callee.

    Each sidecar has a breaker of its own for each cluster of a service (ports, subsets). The worst of them
    represents the edge, because some calls meet it.
    """
    worst: dict[tuple[str, str], ClusterReport | None] = {}
    trials: dict[tuple[str, str], tuple[int, int]] = {}
    for report in reports:
        for cluster in report.clusters:
            name = parse_cluster_name(cluster.cluster)
            edge = (report.service, name.service)
            if cluster.passed or cluster.failed:
                passed, failed = trials.get(edge, (0, 0))
                trials[edge] = passed + cluster.passed, failed + cluster.failed
            if edge not in worst:
                # On the edge to a gateway that leads outside, policies for the host outside are in force.
                called = name.subset if is_external_node(name.subset) else name.service
                is_protected = _is_protected(attachments, services, report.service, called)
                worst[edge] = cluster if is_protected else None
                continue
            current = worst[edge]
            if current is not None and _severity(cluster) > _severity(current):
                worst[edge] = cluster
    return tuple(
        _breaker(edge, cluster, trials.get(edge, (0, 0)))
        for edge, cluster in sorted(worst.items(), key=_edge)
        if cluster
    )


def breaker_state(cluster: ClusterReport) -> BreakerState:
    """Open if no request gets through: every host is ejected, or a limit is reached.

    Half-open while an ejected host is tried, unless others are ejected and are not.
    """
    out = cluster.ejected - cluster.half_open
    if cluster.limited or (cluster.hosts and out >= cluster.hosts):
        return "open"
    if out > 0:
        return "partial"
    return "half-open" if cluster.half_open else "closed"


def _is_protected(attachments: Attachments, services: Collection[str], caller: str, callee: str) -> bool:
    if callee not in services and not is_external_node(callee):
        return False
    point = edge_point(callee, caller)
    return any(policy.kind == KIND for policy in attachments.effective_at(point))


def _edge(item: tuple[tuple[str, str], object]) -> tuple[str, str]:
    return item[0]


def _breaker(edge: tuple[str, str], cluster: ClusterReport, trials: tuple[int, int]) -> Breaker:
    return Breaker(
        from_=edge[0],
        to=edge[1],
        state=breaker_state(cluster),
        ejected=cluster.ejected,
        hosts=cluster.hosts,
        limited=cluster.limited,
        trials_passed=trials[0],
        trials_failed=trials[1],
    )


def _severity(cluster: ClusterReport) -> tuple[int, int, int]:
    return _SEVERITY[breaker_state(cluster)], cluster.ejected, cluster.hosts
