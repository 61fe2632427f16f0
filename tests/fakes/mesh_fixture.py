"""The data of a fake admin API at one moment. Two fixtures of a scenario are equal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meshwright.control_plane.api.auth import Rights
from meshwright.control_plane.api.models.events import Event
from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.control_plane.api.models.policies import Condition, PolicyStatus, ServicePolicies
from meshwright.control_plane.api.models.proxies import ProxyDetail, ProxyStatus
from meshwright.control_plane.api.models.push import PushReport
from meshwright.control_plane.api.models.refusals import RefusalCount
from meshwright.control_plane.api.models.requests import Explanation, Request
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.api.models.rollouts import RolloutStatus
from meshwright.control_plane.api.models.status import ServiceStatus, Status
from meshwright.control_plane.api.models.topology import Breaker, ServiceList, Topology
from meshwright.control_plane.api.models.traces import Trace
from meshwright.control_plane.status.conditions import summarize

NOW = 1_795_271_527.0
"""The time of every scenario, in seconds since the epoch: 2026-11-21 14:32:07 UTC."""

STEPS = 56
STEP = 16.0
"""Seconds per step of a history."""


@dataclass(frozen=True)
class MeshFixture:
    """Everything that the admin API returns. `documents`: those of the newest revision.

    `service_policies` by service and caller (empty: any), in place of those derived from the documents;
    `explanations` by trace ID.
    """

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
    service_policies: Mapping[tuple[str, str], ServicePolicies] = field(default_factory=dict)
    explanations: Mapping[str, Explanation] = field(default_factory=dict)
    refusals: tuple[RefusalCount, ...] = ()
    logged: tuple[Request, ...] = ()
    rollouts: tuple[RolloutStatus, ...] = ()
    push: PushReport | None = None
    rights: Rights = "all"

    @property
    def status(self) -> Status:
        """The status that follows from the other fields."""
        rows = [row for row in self.services.services if row.role == "service"]
        policies = []
        acked = sum(proxy.state == "synced" for proxy in self.proxies)
        for document in self.documents:
            kind, name = document["kind"], document["metadata"]["name"]
            conditions = self.conditions.get(f"{kind}/{name}", self._programmed())
            state, reason = summarize(conditions)
            policies.append(
                PolicyStatus(
                    kind=kind,
                    name=name,
                    conditions=conditions,
                    affected=len(self.proxies),
                    acked=acked,
                    state=state,
                    reason=reason,
                )
            )
        states = {"closed": 0, "partial": 1, "open": 2}
        breakers = [
            Breaker(from_=edge.from_, to=edge.to, state=edge.breaker, ejected=edge.ejected, hosts=2)
            for edge in sorted(self.topology.edges, key=lambda edge: -states.get(edge.breaker, 0))
            if edge.breaker != "none"
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
            push=self.push,
        )

    def _programmed(self) -> tuple[Condition, ...]:
        acked = sum(proxy.state == "synced" for proxy in self.proxies)
        message = f"ACKed by {acked} of {len(self.proxies)} sidecars"
        return (
            Condition(type="Accepted", status="True", reason="Accepted"),
            Condition(
                type="Programmed",
                status="True" if acked == len(self.proxies) else "False",
                reason="Programmed" if acked == len(self.proxies) else "Pending",
                message=message,
            ),
        )
