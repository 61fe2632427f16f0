"""What a change of policies would do: warnings, affected proxies, a diff of Envoy resources. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from meshwright.control_plane.api.models.authorization import ObservedCalls
from meshwright.control_plane.api.models.lint import LintFinding, LintReport
from meshwright.control_plane.api.models.policies import FieldChange
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.api.yaml.diff import unified_diff
from meshwright.control_plane.api.yaml.dump import dump_yaml
from meshwright.control_plane.core.changed_world import parse, with_documents
from meshwright.control_plane.core.patches import Misfit, patches_of
from meshwright.control_plane.core.resource import Resource
from meshwright.control_plane.core.snapshot import Bindings, ResourceKey, Snapshot
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.core.world import World
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.base import TargetedPolicy
from meshwright.control_plane.policies.secret_source import REDACTED, redacted_change
from meshwright.control_plane.status import conditions
from meshwright.control_plane.status.field_changes import field_changes
from meshwright.control_plane.status.lint.findings import added, findings
from meshwright.control_plane.status.references import GatewayPorts

_SECRETS = {"BasicAuth": "users", "BasicAuthPerRoute": "users", "ApiKeyAuthPerRoute": "credentials"}
# Messages of Envoy with credentials, and the field that holds them.

NO_CALLS = ObservedCalls(seconds=0.0)

DocumentBody = Mapping[str, Any]
"""A policy document as plain JSON."""


def preview_warnings(
    world: World, bodies: Iterable[DocumentBody], gateways: GatewayPorts = conditions.NO_GATEWAYS
) -> list[str]:
    """What in these documents will not do what it says once they are applied; one line each.

    `gateways` are those that are connected.
    """
    documents = [parse(body) for body in bodies]
    refs = {document.ref for document in documents}
    others = (document for document in world.documents if document.ref not in refs)
    after = replace(world, documents=(*documents, *others))
    return conditions.reference_warnings(after, documents, gateways)


def unresolved(
    world: World,
    applied: Iterable[DocumentBody],
    others: Iterable[DocumentBody],
    revision: int,
    gateways: GatewayPorts = conditions.NO_GATEWAYS,
) -> list[tuple[str, str]]:
    """Which of the documents `applied` would not be Accepted, or not ResolvedRefs: `Kind/name`, and why.

    `others` are those beside them in this revision; if it is the world's, its copies need no parsing.
    """
    documents = [parse(body) for body in applied]
    is_served = world.revision == revision
    served = {document.ref: document for document in world.documents if is_served}
    beside = [served.get(f"{body['kind']}/{body['metadata']['name']}") or parse(body) for body in others]
    return conditions.unresolved(replace(world, documents=(*documents, *beside)), documents, gateways)


def misplaced_urls(world: World, applied: Iterable[DocumentBody]) -> list[tuple[str, str]]:
    """URLs that proxies must not call by their scheme: `Kind/name` of the document, and why."""
    return [
        (policy.ref, f"spec.{field}: {reason}")
        for policy in (parse(body).policy for body in applied)
        if isinstance(policy, TargetedPolicy)
        for field, url in policy.spec.called_urls()
        if (reason := url.misplaced(world.services, world.domains))
    ]


Viewer = tuple[Identity, Bindings]
"""What decides which resources a proxy may see."""


@dataclass(frozen=True, slots=True)
class ChangePlan:
    """What a change does: unified diffs of YAML, the fields that differ by kind and name of their document,
    the resources that differ by viewer, and what lint finds only then."""

    document_diff: str = ""
    resource_diff: str = ""
    fields: Mapping[tuple[str, str], tuple[FieldChange, ...]] = field(default_factory=dict)
    resources: Mapping[Viewer, frozenset[ResourceKey]] = field(default_factory=dict)
    findings: tuple[LintFinding, ...] = ()


def changed_resources(
    world: World,
    before: Sequence[DocumentBody],
    after: Sequence[DocumentBody],
    viewers: Iterable[Viewer],
) -> dict[Viewer, frozenset[ResourceKey]]:
    """The resources that the change alters for each of these viewers; those without any are left out."""
    return _changed_for(_snapshot(world, before), _snapshot(world, after), viewers)


def _changed_for(
    old: Snapshot, new: Snapshot, viewers: Iterable[Viewer]
) -> dict[Viewer, frozenset[ResourceKey]]:
    changed = new.changed_from(old)
    differences = {
        viewer: new.node(*viewer).differences(old.node(*viewer), changed) for viewer in viewers if changed
    }
    return {viewer: keys for viewer, keys in differences.items() if keys}


def dry_run(
    world: World,
    before: Sequence[DocumentBody],
    after: Sequence[DocumentBody],
    viewers: Iterable[Viewer],
) -> tuple[str, dict[Viewer, frozenset[ResourceKey]]]:
    """What differs between two sets of documents: a unified diff of YAML, and `changed_resources`."""
    return unified_diff(*redacted_change(before, after)), changed_resources(world, before, after, viewers)


def misfits(world: World, bodies: Sequence[DocumentBody]) -> tuple[Misfit, ...]:
    """The patches among these documents that cannot be applied to what the others make."""
    return _snapshot(world, bodies).misfits


def plan(
    world: World,
    before: Sequence[DocumentBody],
    after: Sequence[DocumentBody],
    viewers: Iterable[Viewer],
    calls: ObservedCalls = NO_CALLS,
) -> ChangePlan:
    """What a change from some documents to others does, to these viewers among others.

    `calls` are those that were seen, by which lint judges.
    """
    current, changed = (translate(with_documents(world, bodies)) for bodies in (before, after))
    old, new = current.snapshot, changed.snapshot
    shown = redacted_change(before, after)
    return ChangePlan(
        unified_diff(*shown),
        resource_diff(old, new),
        field_changes(*shown),
        _changed_for(old, new, viewers),
        added(findings(current, calls), findings(changed, calls)),
    )


def lint(world: World, calls: ObservedCalls) -> LintReport:
    """What lint finds in the policies of a world."""
    return LintReport(
        revision=world.revision, seconds=round(calls.seconds, 1), findings=findings(translate(world), calls)
    )


def resource_diff(before: Snapshot, after: Snapshot) -> str:
    """The Envoy resources that differ, as a unified diff of YAML."""
    old, new = _by_label(before), _by_label(after)
    lines: list[str] = []
    for label in sorted({*old, *new}):
        left, right = (table.get(label, table.get(_shared_label(label))) for table in (old, new))
        if (left and left.version) != (right and right.version):
            names = (f"a/{label}{_mark(left)}", f"b/{label}{_mark(right)}")
            lines += difflib.unified_diff(_lines(left), _lines(right), *names)
    return "".join(lines)


def resource_yaml(resource: Resource) -> str:
    """A resource in YAML, as in Envoy's documentation."""
    response = v3.DeltaDiscoveryResponse.FromString(resource.wire)
    body = response.resources[0].resource
    return dump_yaml([_without_secrets(codec.to_dict(codec.decode(body.type_url, body.value)))])


def _without_secrets(value: Any) -> Any:
    """Part of a resource, without the credentials in configurations of filters."""
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    if not isinstance(value, dict):
        return value
    secret = _SECRETS.get(str(value.get("@type", "")).rpartition(".")[2], "")
    return {name: REDACTED if name == secret else _without_secrets(member) for name, member in value.items()}


def _snapshot(world: World, bodies: Iterable[DocumentBody]) -> Snapshot:
    """The configuration with these documents."""
    return translate(with_documents(world, bodies)).snapshot


def _by_label(snapshot: Snapshot) -> dict[str, Resource]:
    """Every resource by a label with its type, its name, and the caller or node that it is limited to."""
    labelled = {}
    for caller, table in (("", snapshot.shared), *snapshot.variants.items()):
        suffix = f" (for {caller})" if caller else ""
        labelled.update({f"{_label(resource)}{suffix}": resource for resource in table.values()})
    for node, resources in snapshot.node_resources():
        labelled.update({f"{_label(resource)} (of {node})": resource for resource in resources})
    return labelled


def _shared_label(label: str) -> str:
    """The label of the resource that callers without a variant get."""
    return label.partition(" (for ")[0]


def _label(resource: Resource) -> str:
    """Such as `VirtualHost/out/orders`."""
    return f"{resource.type_url.rsplit('.', 1)[1]}/{resource.name}"


def _mark(resource: Resource | None) -> str:
    """Which EnvoyPatches changed a resource: much of a diff need not show its metadata."""
    refs = patches_of(resource) if resource else ()
    return f" patched by {', '.join(refs)}" if refs else ""


def _lines(resource: Resource | None) -> list[str]:
    return resource_yaml(resource).splitlines(keepends=True) if resource else []
