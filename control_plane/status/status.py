"""The status of the mesh as the admin API returns it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Literal, TypeVar

from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.control_plane.api.models.proxies import ProxyDetail, ProxyReport, ProxyStatus
from meshwright.control_plane.api.models.push import NO_PUSH, PushReport
from meshwright.control_plane.api.models.status import (
    ControlPlaneStatus,
    GatewayStatus,
    PatchedResource,
    ServiceStatus,
    Status,
    VersionSkew,
)
from meshwright.control_plane.api.models.topology import Breaker, ServiceList
from meshwright.control_plane.core.patches import PatchedPlace
from meshwright.control_plane.core.world import World
from meshwright.control_plane.status import conditions
from meshwright.control_plane.status.acks import AckCount
from meshwright.control_plane.status.certificates import NO_CERTIFICATES, NodeCertificates
from meshwright.control_plane.status.references import BoundPort, GatewayPorts

NO_PATCHES: Mapping[PatchedPlace, tuple[str, ...]] = {}

NAMED_INSTANCES = 3
"""Instances that a sentence names."""

ProxyT = TypeVar("ProxyT", bound=ProxyStatus)


def mesh_status(
    world: World,
    store: Literal["ok", "degraded"],
    proxies: tuple[ProxyStatus, ...],
    ack_counts: Mapping[str, AckCount],
    problems: tuple[str, ...],
    *,
    version: str = "",
    breakers: tuple[Breaker, ...] = (),
    control_planes: tuple[ControlPlaneStatus, ...] = (),
    skews: tuple[VersionSkew, ...] = (),
    certificates: NodeCertificates = NO_CERTIFICATES,
    patched: Mapping[PatchedPlace, tuple[str, ...]] = NO_PATCHES,
    push: PushReport | None = None,
) -> Status:
    """The current status. `ack_counts` by `Kind/name`, `certificates` are those of gateways,
    `version` is that of this control plane, `patched` are the patches in force."""
    services = (
        ServiceStatus(
            name=service.name,
            instances=len(service.instances),
            healthy=sum(instance.health == "healthy" for instance in service.instances),
        )
        for service in world.services.values()
    )
    return Status(
        revision=world.revision,
        version=version,
        store=store,
        services=tuple(services),
        proxies=proxies,
        policies=conditions.policy_statuses(
            world, ack_counts, gateway_ports(proxies), certificates, push or NO_PUSH
        ),
        breakers=breakers,
        patched=tuple(
            PatchedResource(owner=owner, type=kind, name=name, policies=policies)
            for (owner, kind, name), policies in patched.items()
        ),
        push=push if push and (push.push or push.withdrawals or push.stable != push.newest) else None,
        problems=problems,
        skews=skews,
        control_planes=control_planes,
    )


def gateway_ports(proxies: Iterable[ProxyStatus]) -> GatewayPorts:
    """The gateways among the proxies, with the ports where their nodes bind their listeners."""
    return {
        proxy.service: {
            listener.name: BoundPort(listener.port, listener.option) for listener in proxy.listeners
        }
        for proxy in proxies
        if proxy.role == "gateway"
    }


def with_health(status: Status, rows: ServiceList) -> Status:
    """The status with the health of services and gateways as the topology has it."""
    by_name = {row.name: row for row in rows.services}
    services = tuple(
        service.model_copy(
            update={
                "health": by_name[service.name].health,
                "since": by_name[service.name].since,
                "reason": by_name[service.name].reason,
            }
        )
        if service.name in by_name
        else service
        for service in status.services
    )
    connected = Counter(proxy.service for proxy in status.proxies if proxy.state != "disconnected")
    gateways = tuple(
        GatewayStatus(name=row.name, health=row.health, proxies=connected[row.name], reason=row.reason)
        for row in rows.services
        if row.role == "gateway"
    )
    return status.model_copy(update={"services": services, "gateways": gateways})


def without_departed(
    proxies: Iterable[ProxyT], world: World, reports: Iterable[ProxyReport]
) -> tuple[ProxyT, ...]:
    """The proxies without those that are gone as planned: no stream, no lease, no report of an agent.

    Those of a service whose last instance was lost stay, and evicted ones, so that the loss has a trace.
    Gateways have no lease: theirs stay until the xDS server forgets them.
    """
    reporting = {(report.service, report.node) for report in reports}

    def is_departed(proxy: ProxyStatus) -> bool:
        service = world.services.get(proxy.service)
        if proxy.state != "disconnected" or proxy.error or not service:
            return False
        if service.departure and service.departure.failure:
            return False
        is_registered = any(instance.name == proxy.name for instance in service.instances)
        return not is_registered and (proxy.service, proxy.name) not in reporting

    return tuple(proxy for proxy in proxies if not is_departed(proxy))


def proxy_details(
    statuses: Iterable[ProxyStatus],
    in_flight: Mapping[tuple[str, str], int],
    reports: Iterable[ProxyReport],
) -> tuple[ProxyDetail, ...]:
    """Every proxy with the report of its agent, by service and name.

    `in_flight` are unacknowledged responses by (service, name). A proxy that only reports is included: its
    Envoy runs but has had no xDS stream for a while.
    """
    report_by_key = {(report.service, report.node): report for report in reports}
    status_by_key = {(status.service, status.name): status for status in statuses}
    for service, name in report_by_key.keys() - status_by_key.keys():
        status_by_key[service, name] = ProxyStatus(
            name=name, service=service, state="disconnected", revision=0
        )
    return tuple(
        _detail(status_by_key[key], in_flight.get(key, 0), report_by_key.get(key))
        for key in sorted(status_by_key)
    )


def _detail(status: ProxyStatus, in_flight: int, report: ProxyReport | None) -> ProxyDetail:
    fields = {"version", "agent", "memory", "expires", "uptime"}
    reported = report.model_dump(include=fields) if report else {}
    return ProxyDetail(
        **status.model_dump(),
        connected=status.state != "disconnected",
        pending=in_flight,
        reported=report is not None,
        **reported,
    )


def instance_statuses(world: World) -> tuple[InstanceStatus, ...]:
    """Every instance with a lease."""
    return tuple(
        InstanceStatus(
            name=instance.name,
            service=service.name,
            address=f"{instance.address}:{instance.port}",
            labels=dict(instance.labels),
            ports=service.ports,
            health=instance.health,
            reason=instance.reason,
            last_resort=instance.last_resort,
            restarts=instance.restarts,
            last_exit=instance.last_exit,
            process=instance.process,
        )
        for service in world.services.values()
        for instance in service.instances
    )


def silence_problem(silent: Collection[tuple[str, str]]) -> tuple[str, ...]:
    """That agents are silent while their instances work, in one sentence; empty if none is."""
    if not silent:
        return ()
    names = [instance for _, instance in sorted(silent)]
    others = f" and {len(names) - NAMED_INSTANCES} more" if len(names) > NAMED_INSTANCES else ""
    listed = f"{', '.join(names[:NAMED_INSTANCES])}{others}"
    return (f"nothing supervises {listed}: the agent is silent; they stay in service as their Envoys work",)
