"""Which policies are in force for a service or gateway: its own, its routes', the whole mesh's. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from meshwright.control_plane.api.models.base import Condition, PolicyStatus
from meshwright.tui import format
from meshwright.tui.format import StatusLabel

ROUTE_KINDS = frozenset({"HTTPRoute", "GRPCRoute", "TCPRoute"})

Documents = Iterable[Mapping[str, Any]]


class EffectivePolicyRef(NamedTuple):
    """A policy and what it is attached to: `service`, `route` or `mesh`."""

    kind: str
    name: str
    attached_to: str


def effective_policies(documents: Documents, name: str) -> tuple[EffectivePolicyRef, ...]:
    """Policies in force for a service or gateway, the nearest first."""
    known = tuple(documents)
    routes = {
        each["metadata"]["name"]
        for each in known
        if each["kind"] in ROUTE_KINDS and _route_concerns(each, name)
    }
    ranks = {"service": 0, "route": 1, "mesh": 2}
    found = [
        EffectivePolicyRef(each["kind"], each["metadata"]["name"], by)
        for each in known
        if (by := _attachment(each, name, routes))
    ]
    return tuple(sorted(found, key=lambda one: (ranks[one.attached_to], one.kind, one.name)))


def _attachment(document: Mapping[str, Any], name: str, routes: set[str]) -> str:
    """How a document reaches the service; empty: not at all."""
    kind, spec = document["kind"], document.get("spec") or {}
    if kind in ROUTE_KINDS:
        return "route" if document["metadata"]["name"] in routes else ""
    if kind == "Subset":
        return "service" if spec.get("service") == name else ""
    if kind == "Gateway":
        return "service" if document["metadata"]["name"] == name else ""
    targets = spec.get("targetRefs") or ()
    named = {(target.get("kind"), target.get("name")) for target in targets}
    if {("Service", name), ("Gateway", name)} & named:
        return "service"
    if any(kind in ROUTE_KINDS and target in routes for kind, target in named):
        return "route"
    return "mesh" if any(target.get("kind") == "Mesh" for target in targets) else ""


def _route_concerns(route: Mapping[str, Any], name: str) -> bool:
    """Whether a route is the service's own, or leads to it, or is the gateway's."""
    spec = route.get("spec") or {}
    parents = {parent.get("name") for parent in spec.get("parentRefs") or ()}
    return name in parents or name in set(_backends(spec))


def _backends(spec: Mapping[str, Any]) -> Iterator[str]:
    for rule in spec.get("rules") or ():
        for backend in rule.get("backendRefs") or ():
            yield backend.get("name", "")


def policy_state(policy: PolicyStatus | None) -> tuple[StatusLabel, str]:
    """What a policy's conditions come to, and the words of the one that says so.

    The worst counts: Rejected by an Envoy, not Accepted, Conflicted, not yet Programmed everywhere.
    """
    if policy is None:
        return format.UNKNOWN_LABEL, ""
    known: dict[str, Condition] = {each.type: each for each in policy.conditions}
    for type_, bad, said in (
        ("Rejected", "True", format.StatusLabel("✖", "rejected", "bad")),
        ("Accepted", "False", format.StatusLabel("✖", "not accepted", "bad")),
        ("Conflicted", "True", format.StatusLabel("◐", "conflicted", "partial")),
        ("Programmed", "False", format.StatusLabel("◐", "pending", "partial")),
    ):
        found = known.get(type_)
        if found and found.status == bad:
            return said, _condition_text(found)
    programmed = known.get("Programmed")
    if programmed and programmed.status == "True":
        return format.StatusLabel("●", "programmed", "good"), _words(programmed)
    return format.UNKNOWN_LABEL, _condition_text(programmed) if programmed else ""


def _condition_text(condition: Condition) -> str:
    return format.sanitize(condition.message or condition.reason)
