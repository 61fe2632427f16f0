"""The history of one edge, service or gateway, put together from the histories of clusters.

For TCP a point counts connections in place of requests. Where several clusters contribute (ports; for an edge
subsets as well), latencies are those of the slowest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from meshwright.control_plane.api.cluster_names import is_external_node
from meshwright.control_plane.api.models.base import Protocol
from meshwright.control_plane.api.models.topology import EdgeHistory, HistoryPoint, ServiceHistory
from meshwright.control_plane.core.views import default_port
from meshwright.control_plane.core.world import World
from meshwright.control_plane.telemetry.topology.edges import destination_of
from meshwright.control_plane.telemetry.topology.history_store import HistoryStore, TrafficHistory
from meshwright.control_plane.telemetry.topology.timeseries import STEP, TimeSeries

ColumnValues = dict[str, float]


def edge_history(
    store: HistoryStore, world: World, caller: str, service: str, now: float
) -> EdgeHistory | None:
    """The history of the calls from `caller` to `service`; None without any."""
    series = []
    for cluster, cluster_series in store.edges(caller):
        destination = destination_of(cluster, world.services)
        if destination is not None and destination[0] == service:
            series.append((cluster_series, destination[1]))
    if not series:
        return None
    points = tuple(_history_points(series, now))
    return EdgeHistory(from_=caller, to=service, step=STEP, points=points)


def service_history(store: HistoryStore, world: World, name: str, now: float) -> ServiceHistory:
    """The history of all calls to a service, or of all calls a gateway makes."""
    series = [(history.fine, protocol) for history, protocol in subject_histories(store, world, name)]
    return ServiceHistory(name=name, step=STEP, points=tuple(_history_points(series, now)))


def subject_histories(
    store: HistoryStore, world: World, name: str
) -> Iterator[tuple[TrafficHistory, Protocol]]:
    """The histories of the ports of a service or ExternalService, or that of a gateway."""
    if is_external_node(name):
        for cluster in store.clusters(name):
            history, destination = store.service(cluster), destination_of(cluster, {})
            if history is not None and destination is not None:
                yield history, destination[1]
        return
    service = world.services.get(name)
    if service is None:
        history = store.gateway(name)
        if history is not None:
            yield history, "http"
        return
    default = default_port(service.ports)
    for port in service.ports:
        for cluster in (f"{name}:{port.name}", *((name,) if port is default else ())):
            history = store.service(cluster)
            if history is not None:
                yield history, port.protocol


def _history_points(series: Iterable[tuple[TimeSeries, Protocol]], now: float) -> Iterator[HistoryPoint]:
    sums: dict[float, ColumnValues] = {}
    for part, protocol in series:
        for start, values in part.points(now):
            if protocol == "tcp":
                values["completed"], values["failed"] = (
                    values["connection_attempts"],
                    values["failed_attempts"],
                )
            point = sums.setdefault(start, dict.fromkeys(values, 0.0))
            for name, value in values.items():
                point[name] = max(point[name], value) if name.startswith("p") else point[name] + value
    return (_history_point(now - start, values) for start, values in sorted(sums.items()))


def _history_point(age: float, values: ColumnValues) -> HistoryPoint:
    return HistoryPoint(
        age_s=round(age, 3),
        requests=round(values["completed"], 6),
        failures=round(values["failed"], 6),
        retries=round(values["retries"], 6),
        connections=round(values["connections"], 6),
        p50_ms=round(values["p50"], 3),
        p95_ms=round(values["p95"], 3),
        p99_ms=round(values["p99"], 3),
    )
