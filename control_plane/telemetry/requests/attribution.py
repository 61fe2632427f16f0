"""Which policies explain the outcome of a request, and who last changed them.

A policy is responsible if it was effective there (named by the route, or attached to the destination), is of
a kind that causes the response flag, and sets a field that does.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from meshwright.control_plane.api.host_suffixes import DOMAINS, Domains
from meshwright.control_plane.api.models.requests import Request, ResponsiblePolicy
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.core.attachment import AttachmentPoint, Attachments, edge_point
from meshwright.control_plane.core.world import PolicyDocument
from meshwright.control_plane.policies.hook_registry import kinds_explaining
from meshwright.control_plane.policies.httproute.spec import INLINE_POLICIES
from meshwright.control_plane.policies.secret_source import redacted

CLOCK_SKEW = 0.5
"""Seconds that a proxy's clock may be behind the store's."""

ROUTE_KINDS = ("HTTPRoute", "GRPCRoute", "TCPRoute", "TLSRoute")

_ATTACHMENT_FIELDS = frozenset({"targetRefs", "from", "parentRefs", "hostnames", "rules"})
_MAX_TEXT_LENGTH = 120


class PolicyAttribution:
    """The policies of one revision, and the changes that led to it.

    `changes` are revisions, newest first; `services` and `gateways` are the names of the mesh's own;
    `attachments` are those of the documents, if they are known, `domains` those in which services have names.
    """

    def __init__(
        self,
        documents: tuple[PolicyDocument, ...],
        changes: Sequence[RevisionInfo] = (),
        services: Collection[str] = (),
        gateways: Collection[str] = (),
        attachments: Attachments | None = None,
        *,
        domains: Domains = DOMAINS,
    ) -> None:
        self.domains = domains
        self.services = services
        self.gateways = gateways
        self._documents = {document.ref: document for document in documents}
        self._attachments = attachments or Attachments(documents)
        self._changes = changes

    def responsible_policies(
        self, request: Request, flag: str, kinds: Sequence[str]
    ) -> tuple[ResponsiblePolicy, ...]:
        """The policies of `kinds` that explain `flag` on a request at a proxy; empty `flag`: any.

        Where Envoy's details name one of them, it alone is responsible.
        """
        policies: dict[str, ResponsiblePolicy] = {}
        refs = tuple(self._effective_refs(request, kinds))
        for ref in [ref for ref in refs if is_named(ref, request.details)] or refs:
            for kind in kinds:
                excerpt = _excerpt(self._documents.get(ref), flag, kind, request.details)
                if excerpt is not None:
                    policies.setdefault(ref, self._with_last_change(ref, excerpt, request.time))
        return tuple(policies.values())

    def candidate_routes(self, request: Request) -> tuple[ResponsiblePolicy, ...]:
        """The routes attached to the request's service or gateway, the last changed first."""
        kind, name = ("Gateway", request.service) if request.direction == "ingress" else ("", request.callee)
        routes = []
        for ref, document in self._documents.items():
            if document.policy.kind not in ROUTE_KINDS:
                continue
            parents = document.policy.spec.parent_refs
            if any(parent.name == name and (not kind or parent.kind == kind) for parent in parents):
                routes.append(self._with_last_change(ref, "", request.time))
        return tuple(sorted(routes, key=lambda route: route.revision, reverse=True))

    def last_change(self, ref: str) -> ResponsiblePolicy:
        """The newest change to the document `Kind/name`."""
        return self._with_last_change(ref, "", float("inf"))

    def _effective_refs(self, request: Request, kinds: Sequence[str]) -> Iterator[str]:
        """The policies effective at the proxy, those named by the route first."""
        yield from request.policies
        if request.direction == "inbound":
            point = AttachmentPoint(service=request.service, caller=request.caller)
        else:
            gateway = request.service if request.direction == "ingress" else ""
            point = edge_point(request.callee, request.service, gateway)
            if gateway and request.method == "TCP":
                point = replace(point, listener=request.route)
        named_kinds = {ref.partition("/")[0] for ref in request.policies}
        for policy in self._attachments.effective_at(point):
            # A kind that the route names is more specific there than at the destination.
            if policy.kind in kinds and policy.kind not in named_kinds:
                yield policy.ref

    def _with_last_change(self, ref: str, excerpt: str, before: float) -> ResponsiblePolicy:
        kind, _, name = ref.partition("/")
        for info in self._changes:
            if info.time > before + CLOCK_SKEW:
                continue
            changed = (change for change in info.changed if change.action != "deleted")
            if any((change.kind, change.name) == (kind, name) for change in changed):
                return ResponsiblePolicy(
                    kind=kind,
                    name=name,
                    excerpt=excerpt,
                    revision=info.revision,
                    author=info.author,
                    message=info.message,
                    time=info.time,
                )
        created = self._documents[ref].created if ref in self._documents else 0
        return ResponsiblePolicy(kind=kind, name=name, excerpt=excerpt, revision=created)


def is_named(ref: str, details: str) -> bool:
    """Whether response code details name the policy `Kind/name`: `..._policy[Authorization/shop_rule_1]`."""
    _, bracket, rest = details.partition(f"[{ref}")
    return bool(bracket) and not (rest[:1].isalnum() or rest[:1] in ("-", "."))


def policy_list(policies: Iterable[ResponsiblePolicy]) -> str:
    """`CircuitBreaker orders-limits and Retry twice`."""
    return " and ".join(f"{policy.kind} {policy.name}" for policy in policies)


def _excerpt(document: PolicyDocument | None, flag: str, kind: str, details: str) -> str | None:
    """The fields of a document that cause `flag` as a policy of `kind`; None if there are none.

    Without a flag it is every field that is set, which may be none.
    """
    if document is None:
        return None
    policy = document.policy
    spec = redacted(policy.model_dump(mode="json", by_alias=True, exclude_none=True))["spec"]
    if policy.kind in ROUTE_KINDS and kind in INLINE_POLICIES:
        field = INLINE_POLICIES[kind]
        values = (rule[field] for rule in spec["rules"] if rule.get(field))
        return next((f"{field}: {_compact(value)}" for value in values), None)
    if policy.kind != kind:
        return None
    names: Iterable[str] = ()
    if flag:
        explaining = kinds_explaining(flag, details)
        if kind not in explaining:
            return None
        names = explaining[kind]
    names = names or (name for name in spec if name not in _ATTACHMENT_FIELDS)
    fields = [f"{name}: {_compact(spec[name])}" for name in names if _is_set(spec, name)]
    excerpt = ", ".join(fields)[:_MAX_TEXT_LENGTH]
    return excerpt or (None if flag else "")


def _is_set(spec: Mapping[str, Any], name: str) -> bool:
    return spec.get(name) not in (None, [], {}, "")


def _compact(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False).replace('"', "")
