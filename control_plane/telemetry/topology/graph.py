"""From what sidecars told to the picture: services as nodes, calls between them as edges. Pure."""

from __future__ import annotations

from meshwright.control_plane.api.models.base import Breaker
from meshwright.control_plane.api.models.topology import Topology, TopologyEdge, VersionTraffic
from meshwright.control_plane.telemetry.topology.edges import EdgeTable, EdgeTraffic
from meshwright.control_plane.telemetry.topology.health import MeshContext, assess_nodes
from meshwright.control_plane.telemetry.topology.windows import WINDOW


def build_topology(edges: EdgeTable, setting: MeshContext) -> Topology:
    """The mesh as a graph."""
    breakers = {(one.from_, one.to): one for one in setting.breakers}
    drawn = (_edge(key, total, breakers.get(key), setting) for key, total in sorted(edges.edges.items()))
    return Topology(window=WINDOW, nodes=tuple(assess_nodes(edges, setting)), edges=tuple(drawn))


def _edge(
    key: tuple[str, str], total: EdgeTraffic, breaker: Breaker | None, setting: MeshContext
) -> TopologyEdge:
    p50, p95, p99 = total.latency_percentiles()
    return TopologyEdge(
        from_=key[0],
        to=key[1],
        protocol=max(total.rates, key=lambda one: total.rates[one]),
        rps=total.rate,
        success=total.success,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        retries_per_s=round(total.retries_per_s, 3),
        breaker=breaker.state if breaker else "closed",
        ejected=breaker.ejected if breaker else total.ejected,
        mtls=total.is_mutual_tls(key[1] not in setting.plaintext_services),
        versions=tuple(_version_traffic(name, one) for name, one in sorted(total.versions.items())),
    )


def _version_traffic(version: str, total: EdgeTraffic) -> VersionTraffic:
    return VersionTraffic(
        version=version, rps=total.rate, success=total.success, p99_ms=total.latency_percentiles()[2]
    )
