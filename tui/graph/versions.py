"""A topology in which versions of a service stand apart: each a node of its own, called by the same callers.

What the mesh tells of a version are its calls, so they alone say how it is.
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
"""Between a service and its version, as in the names of Envoy's clusters; no service's name has it."""


HEALTH_ORDER: tuple[NodeHealth, ...] = ("unknown", "healthy", "degraded", "unhealthy")
"""The worst last."""


def service_of(name: str) -> str:
    """The service that a node stands for."""
    return name.partition(SEPARATOR)[0]


def has_versions(topology: Topology) -> bool:
    """Whether any calls were sent to a version."""
    return any(edge.versions for edge in topology.edges)


def split_versions(topology: Topology) -> Topology:
    """Versions as nodes; a service that is called by its versions alone, and calls nobody, is left out."""
    edges: list[TopologyEdge] = []
    version_trafficses: dict[str, list[VersionTraffic]] = {}
    texts: set[str] = set()
    for edge in topology.edges:
        for share in edge.versions:
            name = _version_node(edge, share)
            version_trafficses.setdefault(name, []).append(share)
            edges.append(_version_edge(edge, name, share))
        rest = edge.rps - sum(share.rps for share in edge.versions)
        if not edge.versions or rest > edge.rps / 100:
            texts.add(edge.to)
            edges.append(edge if not edge.versions else _unversioned_edge(edge, rest))
    split = {service_of(name) for name in version_trafficses}
    callers = {edge.from_ for edge in topology.edges}
    nodes = [node for node in topology.nodes if node.name not in split - texts - callers]
    return Topology(
        window=topology.window,
        nodes=(
            *nodes,
            *(TopologyNode(name=name, health=_health(shares)) for name, shares in version_trafficses.items()),
        ),
        edges=tuple(edges),
    )


def _version_node(edge: TopologyEdge, share: VersionTraffic) -> str:
    """`inventory/v2` for the Subset `inventory-v2`, whose name must differ from those of other services."""
    short = share.version.removeprefix(f"{edge.to}-")
    taken = any(short == other.version for other in edge.versions if other != share)
    return f"{edge.to}{SEPARATOR}{share.version if taken else short}"


def _version_edge(edge: TopologyEdge, name: str, share: VersionTraffic) -> TopologyEdge:
    return edge.model_copy(
        update={
            "to": name,
            "rps": share.rps,
            "success": share.success,
            "health": share.health,
            "p50_ms": 0.0,
            "p95_ms": 0.0,
            "p99_ms": share.p99_ms,
            "retries_per_s": 0.0,
            "versions": (),
        }
    )


def _unversioned_edge(edge: TopologyEdge, rps: float) -> TopologyEdge:
    """What was sent to no version."""
    good = edge.rps * edge.success - sum(share.rps * share.success for share in edge.versions)
    return edge.model_copy(update={"rps": rps, "success": min(1.0, max(0.0, good / rps)), "versions": ()})


def _health(shares: list[VersionTraffic]) -> NodeHealth:
    """The worst of the control plane's verdicts on the traffic to a version."""
    verdicts = [share.health for share in shares if share.rps]
    return max(verdicts, key=HEALTH_ORDER.index, default="unknown")
