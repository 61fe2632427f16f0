"""The newest that is known of the mesh, each part with the time at which it was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from control_plane.api.messages import Documents
from control_plane.api.seen import Edge, Services, Topology
from control_plane.api.types import InstanceStatus, ProxyDetail, RevisionInfo, Status

Part = Literal["status", "topology", "services", "instances", "proxies", "policies", "revisions"]

STALE = 4.0
"""Seconds after which a picture is called stale: two reports of an Envoy."""


@dataclass(frozen=True, slots=True)
class Picture:
    """All parts that were asked for so far; None: not yet, or no screen needed it.

    `fetched` tells when each part was asked for, in seconds since the epoch. `away` are the words of what
    keeps the admin API from answering, empty while it does; `since` when that began. `faults` are parts that
    it refused, in its words.
    """

    mesh: str = ""
    status: Status | None = None
    topology: Topology | None = None
    services: Services | None = None
    instances: tuple[InstanceStatus, ...] | None = None
    proxies: tuple[ProxyDetail, ...] | None = None
    policies: Documents | None = None
    revisions: tuple[RevisionInfo, ...] | None = None
    fetched: Mapping[str, float] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)
    away: str = ""
    since: float = 0.0

    @property
    def at(self) -> float:
        """When its status was asked for: the clock of the data, seconds since the epoch; 0: never."""
        return self.fetched.get("status", 0.0)


@dataclass(frozen=True, slots=True)
class Whole:
    """The mesh in three figures, over the topology's window: of the calls that enter it.

    `rps` requests in a second, `errors` the share (0..1) of them that fail, `p99_ms` the worst of their
    edges, for percentiles cannot be added up.
    """

    rps: float = 0.0
    errors: float = 0.0
    p99_ms: float = 0.0


def entering(topology: Topology) -> tuple[Edge, ...]:
    """The calls that come from outside: those of gateways, without any those of whom nobody calls."""
    gateways = {node.name for node in topology.nodes if node.role == "gateway"}
    called = {edge.to for edge in topology.edges}
    return (
        tuple(edge for edge in topology.edges if edge.from_ in gateways)
        or tuple(edge for edge in topology.edges if edge.from_ not in called)
        or topology.edges
    )


def whole(topology: Topology) -> Whole:
    """The mesh in three figures."""
    edges = entering(topology)
    rps = sum(edge.rps for edge in edges)
    failed = sum(edge.rps * (1 - edge.success) for edge in edges)
    worst = max((edge.p99_ms for edge in edges if edge.protocol != "tcp"), default=0.0)
    return Whole(rps, failed / rps if rps else 0.0, worst)
