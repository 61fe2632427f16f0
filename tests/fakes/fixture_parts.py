"""Parts of a fixture: services, edges, proxies, instances, policies and an Envoy's configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.control_plane.api.models.policies import AttachedPolicy, PolicyStatus, ServicePolicies
from meshwright.control_plane.api.models.proxies import ProxyDetail
from meshwright.control_plane.api.models.topology import (
    EdgeBreaker,
    HealthThresholds,
    NodeHealth,
    ServiceList,
    ServiceSummary,
    ServiceTrend,
    Topology,
    TopologyEdge,
    TopologyNode,
)
from tests.fakes.mesh_fixture import NOW, STEP, STEPS, MeshFixture

POLICIES = Path(__file__).with_name("fixture_policies.yaml")


def edge(
    caller: str,
    callee: str,
    rps: float,
    success: float = 1.0,
    p99: float = 20.0,
    *,
    retries: float = 0.0,
    breaker: EdgeBreaker = "closed",
    protocol: str = "http",
    ejected: int = 0,
) -> TopologyEdge:
    """One edge, with the health that the control plane would give it; p50 and p95 follow from p99."""
    limits = HealthThresholds()
    health: NodeHealth = "healthy"
    if success < limits.degraded_below or breaker == "open":
        health = "unhealthy" if success < limits.unhealthy_below else "degraded"
    return TopologyEdge(
        from_=caller,
        to=callee,
        protocol=protocol,
        health=health,
        rps=rps,
        success=success,
        p50_ms=p99 / 6,
        p95_ms=p99 / 2,
        p99_ms=p99,
        retries_per_s=retries,
        breaker=breaker,
        ejected=ejected,
        mtls=True,
    )


def trend(rps: float, success: float, p99: float, *, broken: int = 0) -> ServiceTrend:
    """Fifteen minutes: gentle waves, and `broken` newest steps in which things go wrong."""
    waves = [1 + 0.15 * math.sin(n / 4) for n in range(STEPS)]
    bad = [n >= STEPS - broken for n in range(STEPS)]
    return ServiceTrend(
        step=STEP,
        rps=tuple(round(rps * wave, 2) for wave in waves),
        failures_per_s=tuple(round(rps * (1 - success) * (1 if b else 0.02), 3) for b in bad),
        p99_ms=tuple(
            round(p99 * wave * (1 if b or not broken else 0.3), 1) for wave, b in zip(waves, bad, strict=True)
        ),
    )


def rows(topology: Topology, broken: Mapping[str, int] | None = None) -> ServiceList:
    """The table of services that belongs to a topology."""
    summaries: list[ServiceSummary] = []
    order = ("none", "closed", "partial", "open")
    for node in topology.nodes:
        calls = [e for e in topology.edges if (e.from_ if node.role == "gateway" else e.to) == node.name]
        rps = sum(e.rps for e in calls)
        success = 1 - sum(e.rps * (1 - e.success) for e in calls) / rps if rps else 1.0
        p99 = max((e.p99_ms for e in calls), default=0.0)
        summaries.append(
            ServiceSummary(
                name=node.name,
                role=node.role,
                health=node.health,
                rps=rps,
                success=success,
                p50_ms=p99 / 6,
                p95_ms=p99 / 2,
                p99_ms=p99,
                retries_per_s=sum(e.retries_per_s for e in calls),
                breaker=max((e.breaker for e in calls), key=order.index, default="none"),
                ejected=max((e.ejected for e in calls), default=0),
                instances=node.instances,
                healthy=node.healthy,
                mtls=True,
                history=trend(rps, success, p99, broken=(broken or {}).get(node.name, 0)),
            )
        )
    return ServiceList(services=tuple(sorted(summaries, key=lambda summary: summary.name)))


def node(name: str, health: NodeHealth = "healthy", healthy: int = 1, instances: int = 1) -> TopologyNode:
    """A service; the one called ingress is a gateway."""
    if name == "ingress":
        return TopologyNode(name=name, role="gateway", health=health)
    return TopologyNode(name=name, health=health, instances=instances, healthy=healthy)


def proxies(nodes: Sequence[TopologyNode], revision: int) -> tuple[ProxyDetail, ...]:
    """A proxy for each instance, all well."""
    details: list[ProxyDetail] = []
    for node in nodes:
        names = [f"{node.name}-{n + 1}" for n in range(node.instances)] or [node.name]
        details += [
            ProxyDetail(
                name=name,
                service=node.name,
                state="synced",
                revision=revision,
                connected=True,
                reported=True,
                version="1.40.0",
                memory=31_500_000 + 1_000 * len(details),
                expires=NOW + 2_700,
                uptime=8_000,
            )
            for name in names
        ]
    return tuple(details)


def instances(nodes: Sequence[TopologyNode]) -> tuple[InstanceStatus, ...]:
    """All instances of the services; the last ones are unhealthy if not all are healthy."""
    return tuple(
        InstanceStatus(
            name=f"{node.name}-{n + 1}",
            service=node.name,
            address=f"127.0.0.1:{21000 + 10 * at + n}",
            labels={"version": f"v{n + 1}"},
            health="healthy" if n < node.healthy else "unhealthy",
        )
        for at, node in enumerate(nodes)
        for n in range(node.instances)
    )


def documents() -> tuple[dict[str, Any], ...]:
    """The policies of a shop, with the circuit breaker of the scenario."""
    documents = [dict(document) for document in YAML(typ="safe").load_all(POLICIES.read_text())]
    limits = {
        "apiVersion": "meshwright.io/v1",
        "kind": "CircuitBreaker",
        "metadata": {"name": "inventory-limits"},
        "spec": {
            "targetRefs": [{"kind": "Service", "name": "inventory"}],
            "consecutiveFailures": 5,
            "openFor": "60s",
            "maxRequests": 8,
        },
    }
    return tuple(
        sorted([*documents, limits], key=lambda policy: (policy["kind"], policy["metadata"]["name"]))
    )


def service_policies(mesh: MeshFixture, service: str) -> ServicePolicies:
    """The policies that name a service, its route or the mesh, all in force."""
    statuses = {(status.kind, status.name): status for status in mesh.status.policies}
    levels = [_level(document, service) for document in mesh.documents]
    attached = [
        _attached(document, level, statuses)
        for listed in ("service", "gateway", "route", "mesh")
        for document, level in zip(mesh.documents, levels, strict=True)
        if level == listed
    ]
    return ServicePolicies(service=service, policies=tuple(attached))


def _level(document: Mapping[str, Any], service: str) -> str:
    kind, name = document["kind"], document["metadata"]["name"]
    if kind in ("HTTPRoute", "Gateway"):
        return {"HTTPRoute": "route", "Gateway": "gateway"}[kind] if name == service else ""
    if kind == "Subset":
        return "service" if document["spec"]["service"] == service else ""
    refs = {(ref["kind"], ref.get("name", "")) for ref in document["spec"].get("targetRefs", ())}
    return "service" if ("Service", service) in refs else "mesh" if ("Mesh", "") in refs else ""


def _attached(
    document: Mapping[str, Any], level: str, statuses: Mapping[tuple[str, str], PolicyStatus]
) -> AttachedPolicy:
    kind, name = document["kind"], document["metadata"]["name"]
    target = "Mesh" if level == "mesh" else f"{level}/{name}"
    return AttachedPolicy.model_validate(
        {
            "kind": kind,
            "name": name,
            "level": level,
            "target": target,
            "in_force": True,
            "state": statuses[kind, name].state,
        }
    )


def config_dump(mesh: MeshFixture) -> tuple[dict[str, Any], ...]:
    """A sidecar's configuration in the form of Envoy's dump, with a cluster for each service."""
    types = "type.googleapis.com/envoy.admin.v3"
    clusters = [
        {
            "version_info": f"{at:016x}",
            "cluster": {
                "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
                "name": row.name,
                "type": "EDS",
                "connect_timeout": "1s",
                "circuit_breakers": {"thresholds": [{"max_requests": 8, "track_remaining": True}]},
            },
        }
        for at, row in enumerate(mesh.services.services)
    ]
    listener = {
        "name": "inbound",
        "active_state": {"listener": {"name": "inbound", "address": {"port": 15006}}},
    }
    return (
        {"@type": f"{types}.ClustersConfigDump", "version_info": "1", "dynamic_active_clusters": clusters},
        {"@type": f"{types}.ListenersConfigDump", "dynamic_listeners": [listener]},
        {"@type": f"{types}.RoutesConfigDump"},
    )
