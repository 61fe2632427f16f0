"""What a made-up admin API tells, all of it at one moment. Two makings of a world are equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meshwright.control_plane.api.auth import Rights
from meshwright.control_plane.api.models.base import (
    Breaker,
    Condition,
    InstanceStatus,
    PolicyStatus,
    ProxyDetail,
    ProxyStatus,
    RevisionInfo,
    ServiceStatus,
    Status,
)
from meshwright.control_plane.api.models.events import Event
from meshwright.control_plane.api.models.topology import ServiceList, Topology
from meshwright.control_plane.api.models.traces import Trace

NOW = 1_795_271_527.0
"""Seconds since the epoch at which every scenario is looked at: 2026-11-21 14:32:07 UTC."""

STEPS = 56
STEP = 16.0
"""Seconds of each of the steps of a past."""


@dataclass(frozen=True)
class MeshFixture:
    """All that the admin API would tell. `documents` are those of the newest revision."""

    revision: int = 1
    topology: Topology = field(default_factory=Topology)
    services: ServiceList = field(default_factory=ServiceList)
    proxies: tuple[ProxyDetail, ...] = ()
    instances: tuple[InstanceStatus, ...] = ()
    documents: tuple[dict[str, Any], ...] = ()
    conditions: Mapping[str, tuple[Condition, ...]] = field(default_factory=dict)
    revisions: tuple[RevisionInfo, ...] = ()
    traces: tuple[Trace, ...] = ()
    events: tuple[Event, ...] = ()
    rights: Rights = "all"

    @property
    def status(self) -> Status:
        """Derived from the rest, as the control plane does."""
        rows = [row for row in self.services.services if row.role == "service"]
        policies = []
        taken = sum(proxy.state == "synced" for proxy in self.proxies)
        for document in self.documents:
            kind, name = document["kind"], document["metadata"]["name"]
            known = self.conditions.get(f"{kind}/{name}", self._programmed())
            policies.append(
                PolicyStatus(kind=kind, name=name, conditions=known, affected=len(self.proxies), acked=taken)
            )
        states = {"closed": 0, "partial": 1, "open": 2}
        breakers = [
            Breaker(from_=edge.from_, to=edge.to, state=edge.breaker, ejected=edge.ejected, hosts=2)
            for edge in sorted(self.topology.edges, key=lambda edge: -states[edge.breaker])
        ]
        return Status(
            rights=self.rights,
            revision=self.revision,
            store="ok",
            services=tuple(
                ServiceStatus(name=row.name, instances=row.instances, healthy=row.healthy) for row in rows
            ),
            proxies=tuple(
                ProxyStatus(**proxy.model_dump(include=set(ProxyStatus.model_fields)))
                for proxy in self.proxies
            ),
            policies=tuple(policies),
            breakers=tuple(breakers),
        )

    def _programmed(self) -> tuple[Condition, ...]:
        taken = sum(proxy.state == "synced" for proxy in self.proxies)
        words = f"ACKed by {taken} of {len(self.proxies)} sidecars"
        return (
            Condition(type="Accepted", status="True", reason="Accepted"),
            Condition(
                type="Programmed",
                status="True" if taken == len(self.proxies) else "False",
                reason="Programmed" if taken == len(self.proxies) else "Pending",
                message=words,
            ),
        )
