"""A topology in which the versions of a service are separate nodes, each called by the same callers.

The health of a version is that of the traffic to it: the mesh reports nothing else about versions.
"""

from __future__ import annotations

from meshwright.control_plane.api.models.topology import (
    NodeHealth,
    Topology,
    TopologyEdge,
    TopologyNode,
    VersionTraffic,
)

SEPARATOR = "/"
"""Between service and version, as in the names of Envoy's clusters; no service name contains it."""


HEALTH_ORDER: tuple[NodeHealth, ...] = ("unknown", "healthy", "degraded", "unhealthy")
"""The worst last."""


def service_of(name: str) -> str:
    """The service of a node."""
    return name.partition(SEPARATOR)[0]


def has_versions(topology: Topology) -> bool:
    """Whether any traffic is routed to a version."""
    return any(edge.versions for edge in topology.edges)


def split_versions(topology: Topology) -> Topology:
    """Versions as nodes. A service that receives no other traffic, and calls nobody, is dropped."""
    edges: list[TopologyEdge] = []
    versions: dict[str, list[VersionTraffic]] = {}
    called: set[str] = set()
    for edge in topology.edges:
        for version in edge.versions:
            name = _version_node(edge, version)
            versions.setdefault(name, []).append(version)
            edges.append(_version_edge(edge, name, version))
        rest = edge.rps - sum(version.rps for version in edge.versions)
        if not edge.versions or rest > edge.rps / 100:
            called.add(edge.to)
            edges.append(edge if not edge.versions else _unversioned_edge(edge, rest))
    split = {service_of(name) for name in versions}
    callers = {edge.from_ for edge in topology.edges}
    nodes = [node for node in topology.nodes if node.name not in split - called - callers]
    nodes += [TopologyNode(name=name, health=_health(traffic)) for name, traffic in versions.items()]
    return topology.model_copy(update={"nodes": tuple(nodes), "edges": tuple(edges)})


def _version_node(edge: TopologyEdge, version: VersionTraffic) -> str:
    """`inventory/v2` for the Subset `inventory-v2`, unless another Subset has the short name."""
    short = version.version.removeprefix(f"{edge.to}-")
    taken = any(short == other.version for other in edge.versions if other != version)
    return f"{edge.to}{SEPARATOR}{version.version if taken else short}"


def _version_edge(edge: TopologyEdge, name: str, version: VersionTraffic) -> TopologyEdge:
    return edge.model_copy(
        update={
            "to": name,
            "rps": version.rps,
            "success": version.success,
            "health": version.health,
            "p50_ms": 0.0,
            "p95_ms": 0.0,
            "p99_ms": version.p99_ms,
            "retries_per_s": 0.0,
            "versions": (),
        }
    )


def _unversioned_edge(edge: TopologyEdge, rps: float) -> TopologyEdge:
    """The traffic that was routed to no version."""
    succeeded = edge.rps * edge.success - sum(version.rps * version.success for version in edge.versions)
    success = min(1.0, max(0.0, succeeded / rps))
    return edge.model_copy(update={"rps": rps, "success": success, "versions": ()})


def _health(traffic: list[VersionTraffic]) -> NodeHealth:
    """The worst of the control plane's verdicts on the traffic to a version."""
    verdicts = [version.health for version in traffic if version.rps]
    return max(verdicts, key=HEALTH_ORDER.index, default="unknown")
