"""Flows added up to edges: all that goes from one service or gateway to another. Pure.

Only what the mesh knows is an edge: a callee is a service of the world, a caller is who its certificate says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from control_plane.api.seen import Role
from control_plane.api.types import Protocol
from control_plane.core.view import default_port
from control_plane.core.world import Service
from control_plane.telemetry.counts import Counts
from control_plane.telemetry.flows import LATE, Seen

NEVER = float("-inf")

_CLUSTER = re.compile(r"(?P<service>[^:/]+)(?::(?P<port>[^/]+))?(?:/(?P<version>.+))?")
# `orders`, `orders:grpc`, `orders/v2`.


@dataclass(slots=True)
class Sum:
    """Some flows together: requests and TCP connections apart, each as counts, and as rates by protocol."""

    requests: Counts = field(default_factory=Counts)
    streams: Counts = field(default_factory=Counts)
    rates: dict[Protocol, float] = field(default_factory=dict)
    retries: float = 0.0
    ejected: int = 0
    connected: float = NEVER
    secured: float = NEVER
    versions: dict[str, Sum] = field(default_factory=dict)

    @property
    def outcome(self) -> tuple[float, float]:
        """How much happened, and how much of it failed."""
        happened = self.requests.answered + self.streams.wanted
        return happened, min(self.requests.failed + self.streams.refused, happened)

    @property
    def success(self) -> float:
        """The share of what happened that did not fail; 1 where nothing did."""
        happened, failed = self.outcome
        return round(1 - failed / happened, 6) if happened > 0 else 1.0

    @property
    def rate(self) -> float:
        """Requests and connections in a second."""
        return round(sum(self.rates.values()), 3)

    def latencies(self) -> tuple[float, float, float]:
        """What 50 %, 95 % and 99 % of the requests stayed below, in ms; 0 without any."""
        p50, p95, p99 = self.requests.latencies()
        return round(p50, 3), round(p95, 3), round(p99, 3)

    def is_mutual(self, configured: bool) -> bool:
        """Connections tell by their handshakes; where none is known of, the configuration does.

        A handshake may be told in the flush after its connection.
        """
        if self.connected == self.secured == NEVER:
            return configured
        return self.secured >= self.connected - LATE

    def note(self, seen: Seen, protocol: Protocol) -> None:
        """Add one node's flow."""
        counts, seconds = seen.counts, seen.seconds
        happened = counts.wanted if protocol == "tcp" else counts.answered
        (self.streams if protocol == "tcp" else self.requests).add(counts)
        rate = happened / seconds if seconds > 0 else 0.0
        self.rates[protocol] = self.rates.get(protocol, 0.0) + rate
        self.retries += counts.retries / seconds if seconds > 0 else 0.0
        self.ejected = max(self.ejected, seen.flow.ejected)
        self.connected = max(self.connected, seen.flow.connected)
        self.secured = max(self.secured, seen.flow.secured)

    def add(self, more: Sum) -> None:
        """Add the flows of another edge."""
        self.requests.add(more.requests)
        self.streams.add(more.streams)
        for protocol, rate in more.rates.items():
            self.rates[protocol] = self.rates.get(protocol, 0.0) + rate
        self.retries += more.retries
        self.ejected = max(self.ejected, more.ejected)


@dataclass(frozen=True, slots=True)
class Edges:
    """The edges by caller and callee, and what their callers are."""

    sums: Mapping[tuple[str, str], Sum]
    callers: Mapping[str, Role]


def callee(cluster: str, services: Mapping[str, Service]) -> tuple[str, Protocol] | None:
    """The service behind a cluster and what it speaks there; None when the mesh has no such service."""
    found = _CLUSTER.fullmatch(cluster)
    service = services.get(found["service"]) if found else None
    if found is None or service is None:
        return None
    if found["port"]:
        port = next((one for one in service.ports if one.name == found["port"]), None)
    else:
        port = default_port(service.ports)
    return (service.name, port.protocol) if port else None


def _version(cluster: str) -> str:
    found = _CLUSTER.fullmatch(cluster)
    return (found["version"] or "") if found else ""


def gather(flows: Iterable[Seen], services: Mapping[str, Service], now: float, fades: float) -> Edges:
    """The edges with traffic within the last `fades` seconds, by the clock that flows were noted by."""
    sums: dict[tuple[str, str], Sum] = {}
    callers: dict[str, Role] = {}
    for one in flows:
        about = callee(one.cluster, services)
        if about is None:
            continue
        flow = one.flow
        last = max(flow.wanted, flow.opened) if about[1] == "tcp" else flow.requested
        if now - last < fades:
            caller = one.caller
            callers[caller.name] = "gateway" if caller.role == "gateway" else "service"
            total = sums.setdefault((caller.name, about[0]), Sum())
            total.note(one, about[1])
            version = _version(one.cluster)
            if version:
                total.versions.setdefault(version, Sum()).note(one, about[1])
    return Edges(sums, callers)
