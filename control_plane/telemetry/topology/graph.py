"""The topology: services and gateways as nodes, the calls between them as edges."""

from __future__ import annotations

from meshwright.control_plane.api.cluster_names import is_external_node
from meshwright.control_plane.api.models.topology import Breaker, Topology, TopologyEdge, VersionTraffic
from meshwright.control_plane.telemetry.topology.edges import EdgeTable, EdgeTraffic
from meshwright.control_plane.telemetry.topology.health import (
    THRESHOLDS,
    MeshContext,
    assess_nodes,
    edge_health,
)
from meshwright.control_plane.telemetry.topology.traffic import WINDOW


def build_topology(edges: EdgeTable, context: MeshContext) -> Topology:
    """The mesh as a graph."""
    breakers = {(breaker.from_, breaker.to): breaker for breaker in context.breakers}
    return Topology(
        window=WINDOW,
        nodes=tuple(assess_nodes(edges, context)),
        edges=tuple(
            _edge(ends, traffic, breakers.get(ends), context) for ends, traffic in sorted(edges.edges.items())
        ),
        thresholds=THRESHOLDS,
    )


def _edge(
    ends: tuple[str, str], traffic: EdgeTraffic, breaker: Breaker | None, context: MeshContext
) -> TopologyEdge:
    caller, destination = ends
    p50, p95, p99 = traffic.latency_percentiles()
    return TopologyEdge(
        from_=caller,
        to=destination,
        protocol=max(traffic.rates, key=lambda protocol: traffic.rates[protocol]),
        health=edge_health(traffic, breaker),
        rps=traffic.rate,
        success=traffic.success,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        retries_per_s=round(traffic.retries_per_s, 3),
        refused_per_s=round(traffic.refused_per_s, 3),
        breaker=breaker.state if breaker else "none",
        ejected=breaker.ejected if breaker else traffic.ejected,
        mtls=not is_external_node(destination)
        and traffic.is_mutual_tls(destination not in context.plaintext_services),
        versions=tuple(_version_traffic(version, part) for version, part in sorted(traffic.versions.items())),
    )


def _version_traffic(version: str, traffic: EdgeTraffic) -> VersionTraffic:
    return VersionTraffic(
        version=version,
        health=edge_health(traffic),
        rps=traffic.rate,
        success=traffic.success,
        p99_ms=traffic.latency_percentiles()[2],
    )
