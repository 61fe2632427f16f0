"""The sheets of faults, timeouts and retries: policies with targets, and rules of routes. Pure.

Of these kinds the most specific policy applies and no fields are merged. So a sheet offers every place that
decides for the service or the edge: the service's policy, policies for its routes, and rules with values of
their own. A new policy begins with the values in force until then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from meshwright.control_plane.api.calls import DocumentRef
from meshwright.control_plane.api.cluster_names import is_external_node
from meshwright.control_plane.api.models.policies import AttachedPolicy
from meshwright.control_plane.api.target_refs import target_summary
from meshwright.control_plane.api.yaml.diff import document_key
from meshwright.tui.features.change.sheet import Document, Edit, Sheet, find, free_name
from meshwright.tui.features.change.spec_field import (
    Path,
    SpecField,
    duration,
    parse_texts,
    percentage,
    retry_conditions,
    texts_of,
    value_at,
    whole_number,
    with_values,
)

DELAY, STATUS, GRPC_STATUS = ("delay", "fixed"), ("abort", "status"), ("abort", "grpcStatus")


@dataclass(frozen=True, slots=True)
class SheetKind:
    """A policy kind with a sheet. `word` is the sheet's name; a new policy is named `SERVICE-SUFFIX`.

    `inline`: the field of a route's rule that says the same, and the form's fields for it.
    """

    kind: str
    word: str
    suffix: str
    fields: tuple[SpecField, ...]
    inline: str = ""
    inline_fields: tuple[SpecField, ...] = ()


FAULTS = SheetKind(
    "FaultInjection",
    "faults",
    "faults",
    (
        SpecField(DELAY, "delay", "no delay; such as 2s", duration),
        SpecField(("delay", "percent"), "delayed %", "100", percentage, (DELAY,)),
        SpecField(STATUS, "HTTP status", "no failure; such as 503", whole_number),
        SpecField(GRPC_STATUS, "or gRPC status", "such as UNAVAILABLE"),
        SpecField(("abort", "percent"), "failed %", "100", percentage, (STATUS, GRPC_STATUS)),
    ),
)
TIMEOUTS = SheetKind(
    "Timeout",
    "timeouts",
    "timeout",
    (
        SpecField(("request",), "request", "with its retries; 0s: none", duration),
        SpecField(("backendRequest",), "each try", "no limit of its own", duration),
        SpecField(("idle",), "idle", "without a byte in either direction", duration),
    ),
    "timeouts",
    (
        SpecField(("request",), "request", "with its retries; 0s: none", duration),
        SpecField(("backendRequest",), "each try", "no limit of its own", duration),
    ),
)
RETRIES = SheetKind(
    "Retry",
    "retries",
    "retry",
    (
        SpecField(("attempts",), "retries", "2; 0: none", whole_number),
        SpecField(("on",), "on", "gateway-error, reset, connect-failure, refused-stream", retry_conditions),
        SpecField(("perTryTimeout",), "each try", "no limit of its own", duration),
        SpecField(("backoff", "base"), "first wait", "25ms", duration),
        SpecField(("backoff", "max"), "longest wait", "250ms", duration),
        SpecField(("budget", "percent"), "budget %", "20, of the requests in flight", percentage),
        SpecField(("budget", "minConcurrency"), "always allowed", "20 retries in flight", whole_number),
    ),
    "retry",
    (
        SpecField(("attempts",), "retries", "2; 0: none", whole_number),
        SpecField(("codes",), "on statuses", "none; connections that fail always", retry_conditions),
        SpecField(("backoff",), "first wait", "25ms", duration),
    ),
)


def attached_sheets(
    sheet_kind: SheetKind,
    service: str,
    caller: str,
    documents: tuple[Document, ...],
    attached: tuple[AttachedPolicy, ...],
    *,
    is_gateway: bool = False,
) -> list[Sheet]:
    """The sheets for a service or, with a `caller`, an edge: one for each place that decides there.

    `attached`: the policies that target the service or the edge, those in force and specific ones first. A
    gateway is no target of these kinds, but its routes are.
    """
    mine = [policy for policy in attached if policy.kind == sheet_kind.kind]
    sheets = []
    if not is_gateway:
        sheets.append(_service_sheet(sheet_kind, service, caller, documents, mine))
    for policy in mine:
        document = find(documents, policy.kind, policy.name)
        if policy.level in {"route", "rule"} and document is not None:
            sheets.append(_sheet(sheet_kind, _title(sheet_kind, service, caller), document))
    if sheet_kind.inline:
        for policy in attached:
            route = find(documents, policy.kind, policy.name) if policy.kind == "HTTPRoute" else None
            if route is not None:
                sheets.extend(_inline_sheets(sheet_kind, _title(sheet_kind, service, caller), route))
    return sheets


def _title(sheet_kind: SheetKind, service: str, caller: str) -> str:
    return f"{sheet_kind.word} of {f'{caller} → ' if caller else ''}{service}"


def _service_sheet(
    sheet_kind: SheetKind,
    service: str,
    caller: str,
    documents: tuple[Document, ...],
    mine: list[AttachedPolicy],
) -> Sheet:
    """The sheet of the policy for this service and these callers, or of a new one."""
    title = _title(sheet_kind, service, caller)
    target = f"{_target(service)['kind']}/{_target(service)['name']}"
    for policy in mine:
        has_callers = caller in policy.from_ if caller else not policy.from_
        document = find(documents, policy.kind, policy.name)
        if policy.level == "service" and policy.target == target and has_callers and document is not None:
            return _sheet(sheet_kind, title, document)
    general = [policy for policy in mine if policy.in_force and policy.level in {"mesh", "service"}]
    in_force = next((each for each in general if not each.from_ or caller in each.from_), None)
    template = find(documents, in_force.kind, in_force.name) if in_force else None
    spec = {"targetRefs": [_target(service)], **({"from": [caller]} if caller else {})}
    for name, value in (template or {"spec": {}})["spec"].items():
        if name not in {"targetRefs", "from"}:
            spec[name] = deepcopy(value)
    words = [caller, service.rpartition("/")[2], sheet_kind.suffix]
    name = free_name(documents, sheet_kind.kind, "-".join(filter(None, words)))
    document = {
        "apiVersion": "meshwright.io/v1",
        "kind": sheet_kind.kind,
        "metadata": {"name": name},
        "spec": spec,
    }
    notes = (f"begins with the values of {in_force.kind}/{in_force.name}",) if in_force else ()
    return _sheet(sheet_kind, title, document, is_new=True, notes=notes)


def _target(service: str) -> dict[str, str]:
    if is_external_node(service):
        return {"kind": "ExternalService", "name": service.partition("/")[2]}
    return {"kind": "Service", "name": service}


def _sheet(
    sheet_kind: SheetKind,
    title: str,
    document: Document,
    *,
    is_new: bool = False,
    notes: tuple[str, ...] = (),
) -> Sheet:
    """The sheet of a policy's spec; without any value the policy is deleted."""
    fields, spec = sheet_kind.fields, document["spec"]
    ref = DocumentRef(*document_key(document))

    def build(texts: Mapping[str, str]) -> Edit:
        values = parse_texts(fields, texts)
        if not values and is_new:
            return Edit()
        if not values:
            return Edit(deletes=(ref,), summary=f"deletes {_ref(document)}")
        return Edit(({**document, "spec": with_values(spec, fields, values)},))

    if not is_new:
        notes = (f"applies to {target_summary(spec)}", *notes)
    place = f"new {_ref(document)}" if is_new else _ref(document)
    return Sheet(title, place, fields, texts_of(spec, fields), build, notes)


def _inline_sheets(sheet_kind: SheetKind, title: str, route: Document) -> Iterator[Sheet]:
    """The sheets of a route's rules that say it inline."""
    for index, rule in enumerate(route["spec"].get("rules", ())):
        if sheet_kind.inline in rule:
            place = f"{_ref(route)}, {rule_name(rule, index)}"
            yield _inline_sheet(sheet_kind, title, place, route, ("spec", "rules", index))


def _inline_sheet(sheet_kind: SheetKind, title: str, place: str, route: Document, path: Path) -> Sheet:
    fields, inline = sheet_kind.inline_fields, value_at(route, (*path, sheet_kind.inline))

    def build(texts: Mapping[str, str]) -> Edit:
        values = parse_texts(fields, texts)
        changed: Any = deepcopy(dict(route))
        rule = value_at(changed, path)
        rule[sheet_kind.inline] = with_values(inline, fields, values)
        if not rule[sheet_kind.inline]:
            del rule[sheet_kind.inline]
        return Edit((changed,))

    notes = (f"the rule's own {sheet_kind.word} override every policy",)
    return Sheet(title, place, fields, texts_of(inline, fields), build, notes)


def rule_name(rule: Mapping[str, Any], index: int) -> str:
    """A rule of a route as a person refers to it."""
    return f"rule {rule['name']}" if rule.get("name") else f"rule {index + 1}"


def _ref(document: Document) -> str:
    return "/".join(document_key(document))
