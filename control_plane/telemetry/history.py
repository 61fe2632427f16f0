"""The history of one edge, from those of its clusters. Pure."""

from __future__ import annotations

from control_plane.api.seen import History, Moment
from control_plane.core.world import World
from control_plane.telemetry.flows import Flows
from control_plane.telemetry.series import STEP
from control_plane.telemetry.topology import callee


def history(flows: Flows, world: World, caller: str, service: str, now: float) -> History | None:
    """What is known of the calls from `caller` to `service`; None for nothing.

    Where there are several clusters (ports, subsets), latencies are those of the slowest.
    """
    sums: dict[float, dict[str, float]] = {}
    for cluster, series in flows.series(caller):
        about = callee(cluster, world.services)
        if about is None or about[0] != service:
            continue
        for begun, row in series.points(now):
            known = sums.setdefault(begun, dict.fromkeys(row, 0.0))
            for name, value in row.items():
                known[name] = max(known[name], value) if name.startswith("p") else known[name] + value
    if not sums:
        return None
    points = (_moment(now - begun, row) for begun, row in sorted(sums.items()))
    return History(from_=caller, to=service, step=STEP, points=tuple(points))


def _moment(ago: float, row: dict[str, float]) -> Moment:
    return Moment(
        ago=round(ago, 3),
        requests=round(row["answered"], 6),
        failures=round(row["failed"], 6),
        retries=round(row["retries"], 6),
        connections=round(row["connections"], 6),
        p50_ms=round(row["p50"], 3),
        p95_ms=round(row["p95"], 3),
        p99_ms=round(row["p99"], 3),
    )
