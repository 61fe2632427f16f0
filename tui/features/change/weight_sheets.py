"""The sheets of weights: how routes divide requests, and the first division of a service. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.control_plane.api.percent_text import percent_text
from meshwright.control_plane.errors import InputError
from meshwright.tui.features.change.attached_sheets import rule_name
from meshwright.tui.features.change.sheet import Document, Edit, Sheet, free_name
from meshwright.tui.features.change.spec_field import SpecField, format_value, parse_texts, whole_number

ROUTE_KINDS = ("HTTPRoute", "GRPCRoute", "TCPRoute")
VERSION_LABEL = "version"
"""The label by which instances of a service without Subsets are divided."""

NOT_YET = "not a backend yet"
NO_BACKENDS = "all instances of {} are alike: start some with another label `version`, or write a Subset"


def weight_sheets(
    service: str, caller: str, documents: tuple[Document, ...], instances: Iterable[InstanceStatus]
) -> list[Sheet]:
    """The sheets for a service or, with a `caller`, an edge: one for each rule that divides its requests.

    Without such a rule: that of a new route, if instances differ. Empty: there is nothing to divide.
    """
    subsets = [
        document["metadata"]["name"]
        for document in documents
        if document["kind"] == "Subset" and document["spec"]["service"] == service
    ]
    sheets: list[Sheet] = []
    for route in documents:
        if route["kind"] in ROUTE_KINDS and _concerns(route, service, caller, subsets):
            sheets.extend(_rule_sheets(service, route, subsets, _rollouts(documents, route)))
    routes = [document for document in documents if document["kind"] in ROUTE_KINDS]
    has_route = any(_is_parent(route, "Service", service) for route in routes)
    return sheets if has_route else [*sheets, *_new_route(service, documents, subsets, tuple(instances))]


def _is_parent(route: Document, kind: str, name: str) -> bool:
    refs = route["spec"].get("parentRefs", ())
    return any((ref.get("kind", "Gateway"), ref["name"]) == (kind, name) for ref in refs)


def _concerns(route: Document, service: str, caller: str, subsets: list[str]) -> bool:
    """Whether a route is for calls to the service, or a gateway's that leads there."""
    if _is_parent(route, "Service", service) or _is_parent(route, "Gateway", service):
        return True
    refs = [ref for rule in route["spec"].get("rules", ()) for ref in rule.get("backendRefs", ())]
    leads_there = any(_is_of(ref, service, subsets) for ref in refs)
    return leads_there and (not caller or _is_parent(route, "Gateway", caller))


def _is_of(ref: Mapping[str, Any], service: str, subsets: list[str]) -> bool:
    return ref["name"] in subsets if ref.get("kind") == "Subset" else ref["name"] == service


def _rollouts(documents: Iterable[Document], route: Document) -> tuple[str, ...]:
    """A note for each rollout that moves the weights of a route."""
    names = [
        document["metadata"]["name"]
        for document in documents
        if document["kind"] == "Rollout"
        and document["spec"]["route"]["name"] == route["metadata"]["name"]
        and document["spec"]["route"].get("kind", "HTTPRoute") == route["kind"]
    ]
    return tuple(
        f"{signs.PARTIAL} Rollout/{name} moves these weights by its steps and guards" for name in names
    )


def _rule_sheets(
    service: str, route: Document, subsets: list[str], notes: tuple[str, ...]
) -> Iterator[Sheet]:
    """The sheets of the rules with several backends, or to which a Subset of the service can be added."""
    rules = route["spec"].get("rules", ())
    for index, rule in enumerate(rules):
        refs = rule.get("backendRefs", ())
        used = {ref["name"] for ref in refs if ref.get("kind") == "Subset"}
        leads_there = any(_is_of(ref, service, subsets) for ref in refs)
        more = [_subset_ref(name) for name in subsets if name not in used] if leads_there else []
        if len(refs) + len(more) >= 2 and refs:
            place = f"{route['kind']}/{route['metadata']['name']}, {rule_name(rule, index)}"
            yield _sheet((f"weights of {service}", place), (route,), index, [*refs, *more], notes)


def _subset_ref(name: str) -> dict[str, Any]:
    return {"group": "meshwright.io", "kind": "Subset", "name": name}


def _sheet(
    titles: tuple[str, str],
    documents: tuple[Document, ...],
    rule: int,
    refs: list[dict[str, Any]],
    notes: tuple[str, ...] = (),
) -> Sheet:
    """The sheet of a rule of the first of `documents`. `refs`: its backends, then those that can be added.

    `titles`: of the sheet, and of the place that it writes.
    """
    present = len(documents[0]["spec"]["rules"][rule].get("backendRefs", ()))
    fields = tuple(
        SpecField((index, "weight"), _label(ref), "" if index < present else NOT_YET, whole_number)
        for index, ref in enumerate(refs)
    )
    texts = {
        field.key: format_value(ref.get("weight", 1)) if index < present else ""
        for index, (field, ref) in enumerate(zip(fields, refs, strict=True))
    }

    def build(texts: Mapping[str, str]) -> Edit:
        weights = parse_texts(fields, texts)
        for field in fields[:present]:
            if field.path not in weights:
                raise InputError(f"{field.label}: write a weight, 0 for no requests")
        if not any(weights.values()):
            raise InputError("every weight is 0, so that no request would be answered: raise one")
        changed: Any = deepcopy(dict(documents[0]))
        changed["spec"]["rules"][rule]["backendRefs"] = [
            {**ref, "weight": weights[field.path]}
            for field, ref in zip(fields, refs, strict=True)
            if field.path in weights
        ]
        return Edit((changed, *documents[1:]), summary=_shares(fields, weights))

    return Sheet(*titles, fields, texts, build, notes)


def _label(ref: Mapping[str, Any]) -> str:
    port = f":{ref['port']}" if ref.get("port") else ""
    return f"{ref['name']}{port}"


def _shares(fields: tuple[SpecField, ...], weights: Mapping[Any, Any]) -> str:
    total = sum(weights.values())
    used = [field for field in fields if field.path in weights]
    return ", ".join(f"{field.label} {percent_text(100 * weights[field.path] / total)}" for field in used)


def _new_route(
    service: str, documents: tuple[Document, ...], subsets: list[str], instances: tuple[InstanceStatus, ...]
) -> Iterator[Sheet]:
    """The sheet of a new route among the service's Subsets or, without any, its versions."""
    mine = [instance for instance in instances if instance.service == service]
    if subsets:
        created: tuple[Document, ...] = ()
        selected = {
            document["metadata"]["name"]: document["spec"]["labels"]
            for document in documents
            if document["kind"] == "Subset" and document["metadata"]["name"] in subsets
        }
    else:
        versions = sorted({each.labels[VERSION_LABEL] for each in mine if VERSION_LABEL in each.labels})
        created = tuple(_subset(service, version, documents) for version in versions)
        selected = {each["metadata"]["name"]: each["spec"]["labels"] for each in created}
    if len(selected) < 2:
        return
    counts = Counter(
        name
        for name, labels in selected.items()
        for instance in mine
        if dict(labels).items() <= instance.labels.items()
    )
    refs = [{**_subset_ref(name), "weight": counts[name]} for name in selected]
    name = free_name(documents, "HTTPRoute", f"{service}-weights")
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {
            "parentRefs": [{"group": "", "kind": "Service", "name": service}],
            "rules": [{"backendRefs": refs}],
        },
    }
    notes = ("begins with one for each instance, as requests are divided without a route",)
    titles = (f"weights of {service}", f"new HTTPRoute/{name}")
    yield _sheet(titles, (route, *created), 0, refs, notes)


def _subset(service: str, version: str, documents: tuple[Document, ...]) -> Document:
    """A new Subset of one version of a service."""
    name = re.sub("[^a-z0-9]+", "-", f"{service}-{version}".lower()).strip("-")
    return {
        "apiVersion": "meshwright.io/v1",
        "kind": "Subset",
        "metadata": {"name": free_name(documents, "Subset", name)},
        "spec": {"service": service, "labels": {VERSION_LABEL: version}},
    }
