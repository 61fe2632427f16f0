"""The mesh as the admin API shows it: status, instances, warnings, and what a change does to Envoy. Pure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from meshwright.control_plane.api.models.base import (
    Breaker,
    ControlPlaneStatus,
    InstanceStatus,
    ProxyDetail,
    ProxyReport,
    ProxyStatus,
    ServiceStatus,
    Status,
)
from meshwright.control_plane.api.yaml.dump import dump_yaml
from meshwright.control_plane.core.assemble import parse_policy
from meshwright.control_plane.core.resource import Resource
from meshwright.control_plane.core.snapshot import Snapshot
from meshwright.control_plane.core.translate import Translation, translate
from meshwright.control_plane.core.world import PolicyDocument, World
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.status import conditions
from meshwright.control_plane.status.conditions import RolloutCount

DocumentBody = Mapping[str, Any]


def mesh_status(
    world: World,
    store: Literal["ok", "degraded"],
    proxies: tuple[ProxyStatus, ...],
    deliveries: Mapping[str, RolloutCount],
    problems: tuple[str, ...],
    *,
    breakers: tuple[Breaker, ...] = (),
    control_planes: tuple[ControlPlaneStatus, ...] = (),
) -> Status:
    """The mesh as it stands."""
    services = (
        ServiceStatus(
            name=one.name,
            instances=len(one.instances),
            healthy=sum(instance.health == "healthy" for instance in one.instances),
        )
        for one in world.services.values()
    )
    return Status(
        revision=world.revision,
        store=store,
        services=tuple(services),
        proxies=proxies,
        policies=conditions.policy_statuses(world, deliveries),
        breakers=breakers,
        problems=problems,
        control_planes=control_planes,
    )


def proxy_details(
    connected: Iterable[ProxyStatus],
    pending: Mapping[tuple[str, str], int],
    reports: Iterable[ProxyReport],
) -> tuple[ProxyDetail, ...]:
    """Every proxy with what it told of itself, by service and name.

    `pending` are unanswered responses by (service, name). One that only reports is there too: its Envoy runs
    but has had no configuration stream for a while.
    """
    told = {(one.service, one.node): one for one in reports}
    found = {(one.service, one.name): one for one in connected}
    for service, name in told.keys() - found.keys():
        found[service, name] = ProxyStatus(name=name, service=service, state="disconnected", revision=0)
    return tuple(_detail(found[key], pending.get(key, 0), told.get(key)) for key in sorted(found))


def _detail(status: ProxyStatus, pending: int, report: ProxyReport | None) -> ProxyDetail:
    told = report.model_dump(include={"version", "memory", "expires", "uptime"}) if report else {}
    return ProxyDetail(
        **status.model_dump(),
        connected=status.state != "disconnected",
        pending=pending,
        reported=report is not None,
        **told,
    )


def instance_statuses(world: World) -> tuple[InstanceStatus, ...]:
    """Every instance with a lease."""
    return tuple(
        InstanceStatus(
            name=instance.name,
            service=service.name,
            address=f"{instance.address}:{instance.port}",
            labels=dict(instance.labels),
            health=instance.health,
        )
        for service in world.services.values()
        for instance in service.instances
    )


def service_of_instance(world: World, instance: str) -> str:
    """The service whose instance has a lease of this name; empty when none has."""
    for service in world.services.values():
        if any(one.name == instance for one in service.instances):
            return service.name
    return ""


def preview_warnings(world: World, bodies: Iterable[DocumentBody]) -> list[str]:
    """What in these documents, added to the world, leads nowhere; a line each."""
    given = [_document(body) for body in bodies]
    refs = {one.ref for one in given}
    together = (*given, *(one for one in world.documents if one.ref not in refs))
    later = World(world.revision, world.services, together, world.gateways, world.trust_domain)
    return conditions.reference_warnings(later, given)


def affected_proxies(
    last: Translation | None,
    before: Sequence[DocumentBody],
    after: Sequence[DocumentBody],
    touched: Callable[[Snapshot, Snapshot], Iterable[str]],
) -> tuple[str, ...]:
    """Whom a change from some documents to others configures anew, as `touched` finds it; sorted."""
    world = last.world if last else World(0)
    return tuple(sorted(set(touched(_snapshot(world, before), _snapshot(world, after)))))


def resources_diff(
    last: Translation | None, before: Sequence[DocumentBody], after: Sequence[DocumentBody]
) -> str:
    """The Envoy resources that differ between two sets of documents, as a unified diff of YAML."""
    world = last.world if last else World(0)
    old, new = (_labelled(_snapshot(world, bodies)) for bodies in (before, after))
    lines: list[str] = []
    for name in sorted({*old, *new}):
        left, right = old.get(name, old.get(_of_all(name))), new.get(name, new.get(_of_all(name)))
        if (left and left.version) != (right and right.version):
            lines += difflib.unified_diff(_lines(left), _lines(right), f"a/{name}", f"b/{name}")
    return "".join(lines)


def _snapshot(world: World, bodies: Iterable[DocumentBody]) -> Snapshot:
    ages = {one.ref: one.created for one in world.documents}
    made = (_document(body) for body in bodies)
    documents = tuple(
        sorted((PolicyDocument(one.policy, ages.get(one.ref, world.revision + 1)) for one in made), key=_ref)
    )
    return translate(
        World(world.revision, world.services, documents, world.gateways, world.trust_domain)
    ).snapshot


def _ref(document: PolicyDocument) -> str:
    return document.ref


def _document(body: DocumentBody) -> PolicyDocument:
    return PolicyDocument(parse_policy(json.dumps(body)), 0)


def _labelled(snapshot: Snapshot) -> dict[str, Resource]:
    """Every resource under a name that tells its type and whose it is."""
    found = {}
    for caller, table in (("", snapshot.shared), *snapshot.variants.items()):
        whose = f" (for {caller})" if caller else ""
        found.update({f"{_short(one)}/{one.name}{whose}": one for one in table.values()})
    for owner, resources in snapshot.node_resources():
        found.update({f"{_short(one)}/{one.name} (of {owner})": one for one in resources})
    return found


def _of_all(name: str) -> str:
    """The label of what everybody has, where a caller has nothing of its own."""
    return name.partition(" (for ")[0]


def _short(resource: Resource) -> str:
    return resource.type_url.rsplit(".", 1)[1]


def _lines(resource: Resource | None) -> list[str]:
    return resource_yaml(resource).splitlines(keepends=True) if resource else []


def resource_yaml(resource: Resource) -> str:
    """A resource as Envoy's documentation would write it, in YAML."""
    response = v3.DeltaDiscoveryResponse.FromString(resource.wire)
    body = response.resources[0].resource
    return dump_yaml([codec.to_dict(codec.decode(body.type_url, body.value))])
