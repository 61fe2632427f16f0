"""The histories of one edge, one service or one gateway, from those of clusters. Pure.

For what speaks TCP a point counts connections where it counts requests elsewhere. Where there are several
clusters (ports; for an edge subsets too), latencies are those of the slowest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from meshwright.control_plane.api.models.base import Protocol
from meshwright.control_plane.api.models.topology import EdgeHistory, HistoryPoint, ServiceHistory
from meshwright.control_plane.core.views import default_port
from meshwright.control_plane.core.world import World
from meshwright.control_plane.telemetry.topology.edges import destination_of
from meshwright.control_plane.telemetry.topology.history_store import HistoryStore, TrafficHistory
from meshwright.control_plane.telemetry.topology.timeseries import STEP, TimeSeries

ColumnValues = dict[str, float]


def edge_history(
    courses: HistoryStore, world: World, caller: str, service: str, now: float
) -> EdgeHistory | None:
    """What is known of the calls from `caller` to `service`; None for nothing."""
    found = []
    for cluster, series in courses.edges(caller):
        about = destination_of(cluster, world.services)
        if about is not None and about[0] == service:
            found.append((series, about[1]))
    if not found:
        return None
    return EdgeHistory(from_=caller, to=service, step=STEP, points=tuple(_history_points(found, now)))


def service_history(courses: HistoryStore, world: World, name: str, now: float) -> ServiceHistory:
    """What is known of all calls to a service, or from a gateway; no points for nothing."""
    found = [(course.fine, protocol) for course, protocol in subject_histories(courses, world, name)]
    return ServiceHistory(name=name, step=STEP, points=tuple(_history_points(found, now)))


def subject_histories(
    courses: HistoryStore, world: World, name: str
) -> Iterator[tuple[TrafficHistory, Protocol]]:
    """The histories of a service's ports, or the one of a gateway."""
    service = world.services.get(name)
    if service is None:
        course = courses.gateway(name)
        if course is not None:
            yield course, "http"
        return
    default = default_port(service.ports)
    for port in service.ports:
        for cluster in (f"{name}:{port.name}", *((name,) if port is default else ())):
            course = courses.service(cluster)
            if course is not None:
                yield course, port.protocol


def _history_points(found: Iterable[tuple[TimeSeries, Protocol]], now: float) -> Iterator[HistoryPoint]:
    sums: dict[float, ColumnValues] = {}
    for series, protocol in found:
        for begun, row in series.points(now):
            if protocol == "tcp":
                row["answered"], row["failed"] = row["wanted"], row["refused"]
            known = sums.setdefault(begun, dict.fromkeys(row, 0.0))
            for name, value in row.items():
                known[name] = max(known[name], value) if name.startswith("p") else known[name] + value
    return (_history_point(now - begun, row) for begun, row in sorted(sums.items()))


def _history_point(ago: float, row: ColumnValues) -> HistoryPoint:
    return HistoryPoint(
        age_s=round(ago, 3),
        requests=round(row["answered"], 6),
        failures=round(row["failed"], 6),
        retries=round(row["retries"], 6),
        connections=round(row["connections"], 6),
        p50_ms=round(row["p50"], 3),
        p95_ms=round(row["p95"], 3),
        p99_ms=round(row["p99"], 3),
    )
