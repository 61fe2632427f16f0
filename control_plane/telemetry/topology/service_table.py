"""The service table: all calls to each service, now and over the last quarter of an hour."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from meshwright.control_plane.api.cluster_names import is_external_node
from meshwright.control_plane.api.models.topology import (
    Breaker,
    EdgeBreaker,
    ServiceList,
    ServiceSummary,
    ServiceTrend,
    TopologyNode,
)
from meshwright.control_plane.telemetry.topology.claims import credible_callers
from meshwright.control_plane.telemetry.topology.edges import EdgeTable, EdgeTraffic
from meshwright.control_plane.telemetry.topology.health import MeshContext
from meshwright.control_plane.telemetry.topology.history import subject_histories
from meshwright.control_plane.telemetry.topology.history_store import TREND_STEP, HistoryStore
from meshwright.control_plane.telemetry.topology.traffic import FLUSH_GRACE, WINDOW, CallResults

TrendPoints = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]
"""Requests per second, failures per second and the 99th percentile in ms, one value per step."""

NO_POINTS: TrendPoints = ((), (), ())

_BREAKER_ORDER: tuple[EdgeBreaker, ...] = ("none", "closed", "half-open", "partial", "open")


@dataclass(slots=True)
class TrendCache:
    """The completed points of each service's trend; they do not change, so each is computed once."""

    _points: dict[str, TrendPoints] = field(default_factory=dict)
    _end: int = -1

    def get(self, name: str, history: HistoryStore, context: MeshContext, now: float) -> TrendPoints:
        """The completed points of a service or gateway."""
        end = int((now - FLUSH_GRACE) / TREND_STEP) if now > FLUSH_GRACE else 0
        if end != self._end:
            self._points, self._end = {}, end
        if name not in self._points:
            self._points[name] = _trend_points(name, history, context, end)
        return self._points[name]


def build_service_table(
    edges: EdgeTable, context: MeshContext, nodes: Iterable[TopologyNode], trends: Mapping[str, TrendPoints]
) -> ServiceList:
    """A row for every node: calls to a service, or calls from a gateway."""
    services = context.world.services
    traffic: dict[str, list[tuple[str, EdgeTraffic]]] = {}
    claims: dict[str, dict[str, CallResults]] = {}
    for (caller, destination), edge in edges.edges.items():
        claims.setdefault(destination, {})[caller] = edge.results
    credible = {
        name: credible_callers(callers, context.inbound_results.get(name)) for name, callers in claims.items()
    }
    for (caller, destination), edge in edges.edges.items():
        # A gateway is shown by what it sends. Calls that it receives of the mesh are sent on.
        if caller in credible[destination] and (destination in services or is_external_node(destination)):
            traffic.setdefault(destination, []).append((destination, edge))
        if caller not in services:
            traffic.setdefault(caller, []).append((destination, edge))
    for caller, edge in edges.unrouted.items():
        if caller not in services:
            traffic.setdefault(caller, []).append(("", edge))
    breakers: dict[str, list[Breaker]] = {}
    for breaker in context.breakers:
        breakers.setdefault(breaker.to, []).append(breaker)
        if breaker.from_ not in services:
            breakers.setdefault(breaker.from_, []).append(breaker)
    rows = (
        _service_summary(
            node, traffic.get(node.name, ()), breakers.get(node.name, ()), context, trends[node.name]
        )
        for node in nodes
    )
    return ServiceList(window=WINDOW, services=tuple(rows))


def _service_summary(
    node: TopologyNode,
    edges: Iterable[tuple[str, EdgeTraffic]],
    breakers: Iterable[Breaker],
    context: MeshContext,
    trend: TrendPoints,
) -> ServiceSummary:
    total, mutual_tls = EdgeTraffic(), []
    for destination, edge in edges:
        total.add(edge)
        if destination:
            inside = not is_external_node(destination)
            mutual_tls.append(inside and edge.is_mutual_tls(destination not in context.plaintext_services))
    calls, failed, _ = total.results
    rate, (p50, p95, p99) = total.rate, total.latency_percentiles()
    failures = round(rate * failed / calls, 3) if calls > 0 else 0.0
    breakers = tuple(breakers)
    return ServiceSummary(
        name=node.name,
        role=node.role,
        health=node.health,
        rps=rate,
        success=total.success,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        retries_per_s=round(total.retries_per_s, 3),
        refused_per_s=round(total.refused_per_s, 3),
        breaker=max((breaker.state for breaker in breakers), key=_BREAKER_ORDER.index, default="none"),
        ejected=max((total.ejected, *(breaker.ejected for breaker in breakers))),
        instances=node.instances,
        healthy=node.healthy,
        since=node.since,
        reason=node.reason,
        mtls=all(mutual_tls) if mutual_tls else node.name not in context.plaintext_services,
        history=ServiceTrend(
            step=TREND_STEP,
            rps=(*trend[0], rate),
            failures_per_s=(*trend[1], failures),
            p99_ms=(*trend[2], p99),
        ),
    )


def _trend_points(name: str, store: HistoryStore, context: MeshContext, end: int) -> TrendPoints:
    """The points before `end` of a service or gateway, summed over its ports."""
    histories = [
        (history.coarse, protocol) for history, protocol in subject_histories(store, context.world, name)
    ]
    begin = min((series.first_step(end) for series, _ in histories), default=end)
    if begin >= end:
        return NO_POINTS
    rates, failures, slowest = ([0.0] * (end - begin) for _ in range(3))
    for series, protocol in histories:
        columns = series.columns(begin, end)
        is_tcp = protocol == "tcp"
        calls = columns["connection_attempts" if is_tcp else "completed"]
        failed = columns["failed_attempts" if is_tcp else "failed"]
        rates = [a + b / TREND_STEP for a, b in zip(rates, calls, strict=True)]
        failures = [a + b / TREND_STEP for a, b in zip(failures, failed, strict=True)]
        slowest = [max(a, b) for a, b in zip(slowest, columns["p99"], strict=True)]
    return _rounded(rates), _rounded(failures), _rounded(slowest)


def _rounded(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(value, 3) for value in values)
