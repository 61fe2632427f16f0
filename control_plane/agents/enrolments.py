"""Which enrolment each sidecar calls with, as far as its agent has called within the last minute. Pure.

A node's name is what its agent says, the enrolment is proved by its certificate. One enrolment may speak for
several nodes, and a node that was enrolled again has two for a while.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.callers import Caller

TTL = 60.0
"""Seconds: agents call every two, and long polls take fifteen."""

MAX_NODES_PER_IDENTITY = 4000
"""Nodes and their enrolments; twice what an identity may report for (agents.reports)."""

_Key = tuple[str, str]
# Node and enrolment.


@dataclass(slots=True)
class SeenEnrolments:
    """`now` is any monotonic clock, in seconds."""

    _seen: dict[Identity, dict[_Key, float]] = field(default_factory=dict)

    def record(self, caller: Caller, node: str, now: float) -> None:
        """A caller spoke for a node. Above the limit the identity's oldest entry is dropped."""
        if not caller.enrolment:
            return
        nodes = self._seen.setdefault(caller.identity, {})
        nodes.pop((node, caller.enrolment), None)
        nodes[node, caller.enrolment] = now
        while len(nodes) > MAX_NODES_PER_IDENTITY or now - next(iter(nodes.values())) > TTL:
            del nodes[next(iter(nodes))]

    def of_node(self, node: str, service: str, now: float) -> frozenset[Caller]:
        """The callers that spoke for a node of `service`; "" stands for any service or gateway."""
        return frozenset(
            Caller(identity, enrolment)
            for identity, nodes in self._seen.items()
            if service in ("", identity.name)
            for (name, enrolment), seen in nodes.items()
            if name == node and now - seen <= TTL
        )

    def nodes_of(self, enrolment: str, now: float) -> tuple[tuple[Identity, str], ...]:
        """The nodes that an enrolment spoke for, with their identity."""
        return tuple(
            (identity, node)
            for identity, nodes in self._seen.items()
            for (node, other), seen in nodes.items()
            if other == enrolment and now - seen <= TTL
        )
