"""The latest data of the mesh that the dashboard has fetched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.control_plane.api.models.moments import PastMesh
from meshwright.control_plane.api.models.policies import DocumentList
from meshwright.control_plane.api.models.proxies import ProxyDetail
from meshwright.control_plane.api.models.refusals import RefusalList
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.api.models.rollouts import RolloutStatus
from meshwright.control_plane.api.models.status import Status
from meshwright.control_plane.api.models.topology import ServiceList, Topology, TopologyEdge

StateField = Literal[
    "status", "topology", "services", "instances", "proxies", "policies", "revisions", "refusals", "rollouts"
]
"""A part of the state that is polled on its own."""

STALE_AFTER = 4.0
"""Seconds after which the data counts as stale: twice the interval at which an Envoy reports."""


@dataclass(frozen=True, slots=True)
class DashboardState:
    """Everything fetched so far. None: not fetched yet, or no screen has needed it.

    `fetched` has the time of each field's last fetch, in seconds since the epoch. `outage` says why the admin
    API is unreachable (empty: it is reachable) and `outage_since` when that started. `errors` has the fields
    that the API refused to serve, with its message. `past`: the moment that this is the state of; None: now.
    """

    mesh: str = ""
    status: Status | None = None
    topology: Topology | None = None
    services: ServiceList | None = None
    instances: tuple[InstanceStatus, ...] | None = None
    proxies: tuple[ProxyDetail, ...] | None = None
    policies: DocumentList | None = None
    revisions: tuple[RevisionInfo, ...] | None = None
    refusals: RefusalList | None = None
    rollouts: tuple[RolloutStatus, ...] | None = None
    fetched: Mapping[str, float] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    outage: str = ""
    outage_since: float = 0.0
    past: PastMesh | None = None

    @property
    def updated_at(self) -> float:
        """When the status was last fetched, in seconds since the epoch; 0: never."""
        return self.fetched.get("status", 0.0)


@dataclass(frozen=True, slots=True)
class MeshTotals:
    """The traffic that enters the mesh, over the topology's window.

    `rps`: requests per second. `errors`: the share (0..1) of them that fail. `p99_ms`: the highest p99 of the
    edges, since percentiles cannot be added up.
    """

    rps: float = 0.0
    errors: float = 0.0
    p99_ms: float = 0.0


def active_topology(topology: Topology) -> Topology:
    """The graph without services whose instances have left as planned and that nobody calls."""
    linked = {name for edge in topology.edges for name in (edge.from_, edge.to)}
    nodes = tuple(node for node in topology.nodes if node.health != "idle" or node.name in linked)
    return topology.model_copy(update={"nodes": nodes})


def ingress_edges(topology: Topology) -> tuple[TopologyEdge, ...]:
    """Calls from outside: those of the gateways; without a gateway, those of services nobody calls."""
    gateways = {node.name for node in topology.nodes if node.role == "gateway"}
    called = {edge.to for edge in topology.edges}
    if gateways:
        return tuple(edge for edge in topology.edges if edge.from_ in gateways)
    return tuple(edge for edge in topology.edges if edge.from_ not in called) or topology.edges


def mesh_totals(topology: Topology) -> MeshTotals:
    """Rate, failures and latency of the traffic that enters the mesh."""
    edges = ingress_edges(topology)
    rps = sum(edge.rps for edge in edges)
    failed = sum(edge.rps * (1 - edge.success) for edge in edges)
    p99_ms = max((edge.p99_ms for edge in edges if edge.protocol != "tcp"), default=0.0)
    return MeshTotals(rps, failed / rps if rps else 0.0, p99_ms)
