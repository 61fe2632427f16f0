"""Which policies explain what happened to a request, and who brought them. Pure.

A policy is to blame when it was in force there (named by the route, or attached to the destination), is of a
kind that causes the flag, and really says something that does.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from meshwright.control_plane.api.models.base import RevisionInfo
from meshwright.control_plane.api.models.requests import Request, ResponsiblePolicy
from meshwright.control_plane.core.attachment import AttachmentPoint, Attachments
from meshwright.control_plane.core.world import PolicyDocument

CLOCK_SKEW = 0.5
"""Seconds by which a proxy's clock may be behind the store's."""

ROUTE_KINDS = ("HTTPRoute", "GRPCRoute", "TCPRoute")

FLAG_FIELDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("UO", "CircuitBreaker"): ("maxRequests", "maxPending", "maxConnections"),
    ("UH", "CircuitBreaker"): ("consecutiveFailures", "openFor"),
    ("UH", "HealthCheck"): ("http", "grpc", "tcp", "unhealthyThreshold"),
    ("UF", "ConnectionPool"): ("connectTimeout",),
    ("UF", "MutualTLS"): ("mode",),
    ("UT", "Timeout"): ("request", "backendRequest"),
    ("UT", "Retry"): ("perTryTimeout",),
    ("UMSDR", "Timeout"): ("request", "backendRequest"),
    ("DT", "Timeout"): ("request", "backendRequest"),
    ("SI", "Timeout"): ("idle",),
    ("URX", "Retry"): ("attempts", "on"),
    ("DI", "FaultInjection"): ("delay",),
    ("FI", "FaultInjection"): ("abort",),
}
"""The fields of a kind that cause a flag: a policy that sets none of them is not to blame."""

INLINE_FIELDS = {"Timeout": "timeouts", "Retry": "retry"}
"""What a rule of a route says itself in place of a policy of a kind (Gateway API)."""


class PolicyAttribution:
    """The documents in force at a moment, and how they came to be.

    `changes` are revisions, newest first, as far back as they are known; `services` and `gateways` are
    those of the mesh.
    """

    def __init__(
        self,
        documents: tuple[PolicyDocument, ...],
        changes: Sequence[RevisionInfo] = (),
        services: Collection[str] = (),
        gateways: Collection[str] = (),
    ) -> None:
        self.services = services
        self.gateways = gateways
        self._documents = {one.ref: one for one in documents}
        self._attachments = Attachments(documents)
        self._changes = changes

    def responsible_policies(
        self, request: Request, flag: str, kinds: Sequence[str]
    ) -> tuple[ResponsiblePolicy, ...]:
        """The policies that explain `flag` (empty: none is needed) on a request at a proxy."""
        found: dict[str, ResponsiblePolicy] = {}
        for ref in self._effective_refs(request, kinds):
            for kind in kinds:
                says = _relevant_fields(self._documents.get(ref), flag, kind, request.details)
                if says is not None:
                    found.setdefault(ref, self._with_last_change(ref, says, request.time))
        return tuple(found.values())

    def candidate_routes(self, request: Request) -> tuple[ResponsiblePolicy, ...]:
        """The routes that might have matched a request, at the service it names or its gateway.

        That which changed last comes first.
        """
        kind, name = ("Gateway", request.service) if request.direction == "ingress" else ("", request.callee)
        found = []
        for ref, document in self._documents.items():
            if document.policy.kind not in ROUTE_KINDS:
                continue
            parents = document.policy.spec.parent_refs
            if any(one.name == name and (not kind or one.kind == kind) for one in parents):
                found.append(self._with_last_change(ref, "", request.time))
        return tuple(sorted(found, key=lambda one: one.revision, reverse=True))

    def _effective_refs(self, request: Request, kinds: Sequence[str]) -> Iterator[str]:
        """References in force at the proxy: those of the route first."""
        yield from request.policies
        if request.direction == "inbound":
            site = AttachmentPoint(service=request.service, caller=request.caller)
        else:
            gateway = request.service if request.direction == "ingress" else ""
            site = AttachmentPoint(service=request.callee, caller=request.service, gateway=gateway)
        routed = {ref.partition("/")[0] for ref in request.policies}
        for bound in self._attachments.effective_at(site):
            # What shapes routes is named by the route, where it is more specific than the destination's.
            if bound.kind in kinds and bound.kind not in routed:
                yield bound.ref

    def _with_last_change(self, ref: str, says: str, before: float) -> ResponsiblePolicy:
        kind, _, name = ref.partition("/")
        for info in self._changes:
            if info.time > before + CLOCK_SKEW:
                continue
            if any((one.kind, one.name) == (kind, name) and one.action != "deleted" for one in info.changed):
                return ResponsiblePolicy(
                    kind=kind, name=name, excerpt=says, revision=info.revision,
                    author=info.author, message=info.message, time=info.time,
                )  # fmt: skip
        created = self._documents[ref].created if ref in self._documents else 0
        return ResponsiblePolicy(kind=kind, name=name, excerpt=says, revision=created)


_ATTACHMENT_FIELDS = frozenset({"targetRefs", "from", "parentRefs", "hostnames", "rules"})
_MAX_TEXT_LENGTH = 120


def _relevant_fields(document: PolicyDocument | None, flag: str, kind: str, details: str) -> str | None:
    """What a document says that causes `flag` as a `kind`; None when it says nothing of that."""
    if document is None:
        return None
    policy = document.policy
    spec = policy.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    if policy.kind in ROUTE_KINDS and kind in INLINE_FIELDS:
        rules = (rule[INLINE_FIELDS[kind]] for rule in spec["rules"] if rule.get(INLINE_FIELDS[kind]))
        return next((f"{INLINE_FIELDS[kind]}: {_compact(one)}" for one in rules), None)
    if policy.kind != kind:
        return None
    fields = _fields(flag, kind, details) or tuple(name for name in spec if name not in _ATTACHMENT_FIELDS)
    said = [f"{name}: {_compact(spec[name])}" for name in fields if _is_set(spec, name)]
    whole = ", ".join(said)[:_MAX_TEXT_LENGTH]
    return whole or (None if flag else "")


def _fields(flag: str, kind: str, details: str) -> tuple[str, ...]:
    """What Envoy's details narrow further: which of two limits it was."""
    if (flag, kind) == ("UT", "Timeout"):
        return ("backendRequest",) if "per_try" in details else ("request",)
    if (flag, kind) == ("UT", "Retry") and "per_try" not in details:
        return ("-",)
    if (flag, kind) == ("UF", "ConnectionPool") and "timeout" not in details:
        return ("-",)
    return FLAG_FIELDS.get((flag, kind), ())


def _is_set(spec: Mapping[str, Any], name: str) -> bool:
    return spec.get(name) not in (None, [], {}, "")


def _compact(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False).replace('"', "")


def policy_list(blamed: Iterable[ResponsiblePolicy]) -> str:
    """`CircuitBreaker orders-limits and Retry twice`."""
    return " and ".join(f"{one.kind} {one.name}" for one in blamed)
