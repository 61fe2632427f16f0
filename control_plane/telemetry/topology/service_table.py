"""The table of services: all calls to each, now and over the last quarter of an hour. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from meshwright.control_plane.api.models.base import Breaker, BreakerState
from meshwright.control_plane.api.models.topology import (
    ServiceList,
    ServiceSummary,
    ServiceTrend,
    TopologyNode,
)
from meshwright.control_plane.telemetry.topology.edges import EdgeTable, EdgeTraffic
from meshwright.control_plane.telemetry.topology.health import MeshContext
from meshwright.control_plane.telemetry.topology.history import subject_histories
from meshwright.control_plane.telemetry.topology.history_store import TREND_STEP, HistoryStore
from meshwright.control_plane.telemetry.topology.windows import FLUSH_GRACE, WINDOW

TrendPoints = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]
"""Requests and failures in a second, and the 99th percentile in ms, by step."""

NO_POINTS: TrendPoints = ((), (), ())

_BREAKER_ORDER: tuple[BreakerState, ...] = ("closed", "partial", "open")


@dataclass(slots=True)
class TrendCache:
    """The trends of services. Their points are those that are over, and after them the window of now.

    A point that is over does not change any more, so it is worked out once in COARSE seconds.
    """

    _points: dict[str, TrendPoints] = field(default_factory=dict)
    _end: int = -1

    def get(self, name: str, courses: HistoryStore, setting: MeshContext, now: float) -> TrendPoints:
        """The points of a service or gateway that are over."""
        end = int((now - FLUSH_GRACE) / TREND_STEP) if now > FLUSH_GRACE else 0
        if end != self._end:
            self._points, self._end = {}, end
        if name not in self._points:
            self._points[name] = _trend_points(name, courses, setting, end)
        return self._points[name]


def build_service_table(
    edges: EdgeTable, setting: MeshContext, nodes: Iterable[TopologyNode], trends: Mapping[str, TrendPoints]
) -> ServiceList:
    """Every node with its figures."""
    totals: dict[str, list[tuple[str, EdgeTraffic]]] = {}
    for (caller, to), total in edges.edges.items():
        totals.setdefault(to, []).append((to, total))
        if caller not in setting.world.services:
            totals.setdefault(caller, []).append((to, total))
    breakers: dict[str, list[Breaker]] = {}
    for one in setting.breakers:
        breakers.setdefault(one.to, []).append(one)
        if one.from_ not in setting.world.services:
            breakers.setdefault(one.from_, []).append(one)
    rows = (
        _service_summary(
            node, totals.get(node.name, ()), breakers.get(node.name, ()), setting, trends[node.name]
        )
        for node in nodes
    )
    return ServiceList(window=WINDOW, services=tuple(rows))


def _service_summary(
    node: TopologyNode,
    parts: Iterable[tuple[str, EdgeTraffic]],
    breakers: Iterable[Breaker],
    setting: MeshContext,
    points: TrendPoints,
) -> ServiceSummary:
    total, mutual = EdgeTraffic(), [node.name not in setting.plaintext_services]
    for to, one in parts:
        total.add(one)
        mutual.append(one.is_mutual_tls(to not in setting.plaintext_services))
    happened, failed = total.results
    rate, (p50, p95, p99) = total.rate, total.latency_percentiles()
    failures = round(rate * failed / happened, 3) if happened > 0 else 0.0
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
        breaker=max((one.state for one in breakers), key=_BREAKER_ORDER.index, default="closed"),
        ejected=max((total.ejected, *(one.ejected for one in breakers))),
        instances=node.instances,
        healthy=node.healthy,
        mtls=all(mutual[1:] or mutual),
        history=ServiceTrend(
            step=TREND_STEP,
            rps=(*points[0], rate),
            failures_per_s=(*points[1], failures),
            p99_ms=(*points[2], p99),
        ),
    )


def _trend_points(name: str, courses: HistoryStore, setting: MeshContext, end: int) -> TrendPoints:
    """The points before `end` of a service or gateway, its ports together."""
    found = [(one.coarse, protocol) for one, protocol in subject_histories(courses, setting.world, name)]
    begin = min((series.first_step(end) for series, _ in found), default=end)
    if begin >= end:
        return NO_POINTS
    rates, failures, slowest = ([0.0] * (end - begin) for _ in range(3))
    for series, protocol in found:
        columns = series.columns(begin, end)
        happened, failed = ("wanted", "refused") if protocol == "tcp" else ("answered", "failed")
        rates = [a + b / TREND_STEP for a, b in zip(rates, columns[happened], strict=True)]
        failures = [a + b / TREND_STEP for a, b in zip(failures, columns[failed], strict=True)]
        slowest = [max(a, b) for a, b in zip(slowest, columns["p99"], strict=True)]
    return _rounded(rates), _rounded(failures), _rounded(slowest)


def _rounded(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(value, 3) for value in values)
