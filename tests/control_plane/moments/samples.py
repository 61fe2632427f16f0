"""Moments of a small mesh."""

from __future__ import annotations

from meshwright.control_plane.api.models.moments import Moment
from meshwright.control_plane.api.models.topology import (
    ServiceList,
    ServiceSummary,
    ServiceTrend,
    Topology,
    TopologyEdge,
    TopologyNode,
)
from meshwright.control_plane.api.models.verdict import MeshProblem, Verdict

AT = 1_795_271_520.0
"""A time: 2026-11-21 14:32:00 UTC."""


def moment(at: float = AT, revision: int = 0, success: float = 0.75) -> Moment:
    """Orders calls inventory, which fails."""
    problem = MeshProblem(
        severity="error", kind="traffic", subject="inventory", message="25 % of 12.0/s fail", since=at - 60
    )
    edge = TopologyEdge(
        from_="orders", to="inventory", health="degraded", rps=12.0, success=success,
        p50_ms=3.25, p95_ms=20.5, p99_ms=41.125, mtls=True,
    )  # fmt: skip
    rows = (
        ServiceSummary(
            name="inventory", health="degraded", rps=12.0, success=success, p99_ms=41.125,
            instances=2, healthy=2,
            history=ServiceTrend(step=16.0, rps=(1.0, 2.0)),
        ),
        ServiceSummary(name="orders", health="healthy", instances=1, healthy=1),
    )  # fmt: skip
    return Moment(
        time=at,
        revision=revision,
        verdict=Verdict(healthy=False, problems=(problem,)),
        topology=Topology(
            nodes=(
                TopologyNode(name="inventory", health="degraded"),
                TopologyNode(name="orders", health="healthy"),
            ),
            edges=(edge,),
        ),
        services=ServiceList(services=rows),
    )
