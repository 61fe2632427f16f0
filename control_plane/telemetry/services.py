"""The table of services: all calls to each, now and over the last quarter of an hour. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from control_plane.api.seen import Node, ServiceRow, Services, Trend
from control_plane.api.types import Breaker, BreakerState
from control_plane.telemetry.courses import COARSE, Courses
from control_plane.telemetry.edges import Edges, Sum
from control_plane.telemetry.flows import LATE, WINDOW
from control_plane.telemetry.history import subject
from control_plane.telemetry.verdict import Setting

Points = tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]
"""Requests and failures in a second, and the 99th percentile in ms, by step."""

NOTHING: Points = ((), (), ())

_ORDER: tuple[BreakerState, ...] = ("closed", "partial", "open")


@dataclass(slots=True)
class Trends:
    """The trends of services. Their points are those that are over, and after them the window of now.

    A point that is over does not change any more, so it is worked out once in COARSE seconds.
    """

    _kept: dict[str, Points] = field(default_factory=dict)
    _end: int = -1

    def of(self, name: str, courses: Courses, setting: Setting, now: float) -> Points:
        """The points of a service or gateway that are over."""
        end = int((now - LATE) / COARSE) if now > LATE else 0
        if end != self._end:
            self._kept, self._end = {}, end
        if name not in self._kept:
            self._kept[name] = _points(name, courses, setting, end)
        return self._kept[name]


def table(edges: Edges, setting: Setting, nodes: Iterable[Node], trends: Mapping[str, Points]) -> Services:
    """Every node with its figures."""
    totals: dict[str, list[tuple[str, Sum]]] = {}
    for (caller, to), total in edges.sums.items():
        totals.setdefault(to, []).append((to, total))
        if caller not in setting.world.services:
            totals.setdefault(caller, []).append((to, total))
    breakers: dict[str, list[Breaker]] = {}
    for one in setting.breakers:
        breakers.setdefault(one.to, []).append(one)
        if one.from_ not in setting.world.services:
            breakers.setdefault(one.from_, []).append(one)
    rows = (
        _row(node, totals.get(node.name, ()), breakers.get(node.name, ()), setting, trends[node.name])
        for node in nodes
    )
    return Services(window=WINDOW, services=tuple(rows))


def _row(
    node: Node,
    parts: Iterable[tuple[str, Sum]],
    breakers: Iterable[Breaker],
    setting: Setting,
    points: Points,
) -> ServiceRow:
    total, mutual = Sum(), [node.name not in setting.plaintext]
    for to, one in parts:
        total.add(one)
        mutual.append(one.is_mutual(to not in setting.plaintext))
    happened, failed = total.outcome
    rate, (p50, p95, p99) = total.rate, total.latencies()
    failures = round(rate * failed / happened, 3) if happened > 0 else 0.0
    return ServiceRow(
        name=node.name,
        role=node.role,
        health=node.health,
        rps=rate,
        success=total.success,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        retries_per_s=round(total.retries, 3),
        breaker=max((one.state for one in breakers), key=_ORDER.index, default="closed"),
        ejected=max((total.ejected, *(one.ejected for one in breakers))),
        instances=node.instances,
        healthy=node.healthy,
        mtls=all(mutual[1:] or mutual),
        history=Trend(
            step=COARSE,
            rps=(*points[0], rate),
            failures_per_s=(*points[1], failures),
            p99_ms=(*points[2], p99),
        ),
    )


def _points(name: str, courses: Courses, setting: Setting, end: int) -> Points:
    """The points before `end` of a service or gateway, its ports together."""
    found = [(one.coarse, protocol) for one, protocol in subject(courses, setting.world, name)]
    begin = min((series.first(end) for series, _ in found), default=end)
    if begin >= end:
        return NOTHING
    rates, failures, slowest = ([0.0] * (end - begin) for _ in range(3))
    for series, protocol in found:
        columns = series.columns(begin, end)
        happened, failed = ("wanted", "refused") if protocol == "tcp" else ("answered", "failed")
        rates = [a + b / COARSE for a, b in zip(rates, columns[happened], strict=True)]
        failures = [a + b / COARSE for a, b in zip(failures, columns[failed], strict=True)]
        slowest = [max(a, b) for a, b in zip(slowest, columns["p99"], strict=True)]
    return _short(rates), _short(failures), _short(slowest)


def _short(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(value, 3) for value in values)
