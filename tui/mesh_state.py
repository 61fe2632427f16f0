"""The newest that is known of the mesh, each part with the time at which it was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from meshwright.control_plane.api.models.base import InstanceStatus, ProxyDetail, RevisionInfo, Status
from meshwright.control_plane.api.models.policies import DocumentList
from meshwright.control_plane.api.models.topology import ServiceList, Topology, TopologyEdge

StateField = Literal["status", "topology", "services", "instances", "proxies", "policies", "revisions"]

STALE_AFTER = 4.0
"""Seconds after which a picture is called stale: two reports of an Envoy."""


@dataclass(frozen=True, slots=True)
class DashboardState:
    """All parts that were asked for so far; None: not yet, or no screen needed it.

    `fetched` tells when each part was asked for, in seconds since the epoch. `away` are the words of what
    keeps the admin API from answering, empty while it does; `since` when that began. `faults` are parts that
    it refused, in its words.
    """

    mesh: str = ""
    status: Status | None = None
    topology: Topology | None = None
    services: ServiceList | None = None
    instances: tuple[InstanceStatus, ...] | None = None
    proxies: tuple[ProxyDetail, ...] | None = None
    policies: DocumentList | None = None
    revisions: tuple[RevisionInfo, ...] | None = None
    fetched: Mapping[str, float] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    outage: str = ""
    outage_since: float = 0.0

    @property
    def updated_at(self) -> float:
        """When its status was asked for: the clock of the data, seconds since the epoch; 0: never."""
        return self.fetched.get("status", 0.0)


@dataclass(frozen=True, slots=True)
class MeshTotals:
    """The mesh in three figures, over the topology's window: of the calls that enter it.

    `rps` requests in a second, `errors` the share (0..1) of them that fail, `p99_ms` the worst of their
    edges, for percentiles cannot be added up.
    """

    rps: float = 0.0
    errors: float = 0.0
    p99_ms: float = 0.0


def ingress_edges(topology: Topology) -> tuple[TopologyEdge, ...]:
    """The calls that come from outside: those of gateways, without any those of whom nobody calls."""
    gateways = {node.name for node in topology.nodes if node.role == "gateway"}
    called = {edge.to for edge in topology.edges}
    return (
        tuple(edge for edge in topology.edges if edge.from_ in gateways)
        or tuple(edge for edge in topology.edges if edge.from_ not in called)
        or topology.edges
    )


def mesh_totals(topology: Topology) -> MeshTotals:
    """The mesh in three figures."""
    edges = ingress_edges(topology)
    rps = sum(edge.rps for edge in edges)
    failed = sum(edge.rps * (1 - edge.success) for edge in edges)
    worst = max((edge.p99_ms for edge in edges if edge.protocol != "tcp"), default=0.0)
    return MeshTotals(rps, failed / rps if rps else 0.0, worst)
