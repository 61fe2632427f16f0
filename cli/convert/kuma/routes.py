"""MeshHTTPRoute and MeshTCPRoute as HTTPRoute and TCPRoute."""

from __future__ import annotations

import re
from collections.abc import Iterator

from meshwright.cli.convert.documents import GATEWAY_API, Document, Documents, invalid
from meshwright.cli.convert.kuma.targets import backend_ref, proxies, service_name, share
from meshwright.cli.convert.reading import Value
from meshwright.control_plane.policies.httproute.filters import HTTPRouteFilter
from meshwright.control_plane.policies.httproute.matches import HTTPRouteMatch

_BODIES = {
    "RequestHeaderModifier": "requestHeaderModifier",
    "ResponseHeaderModifier": "responseHeaderModifier",
    "RequestRedirect": "requestRedirect",
    "URLRewrite": "urlRewrite",
}
_VALUES = ("scheme", "hostname", "port", "statusCode")


def convert_http_route(spec: Value, name: str, documents: Documents) -> None:
    """Add what one MeshHTTPRoute says: an HTTPRoute for each destination."""
    for route, service, entry in _destinations(spec, name):
        rules = [document for rule in entry.items("rules") if (document := _rule(rule, service, documents))]
        if not any(rule.get("matches", [{}]) == [{}] for rule in rules):
            entry.note("has no rule for every request: the others go to the service, as in Kuma")
            rules.append({"backendRefs": [{"name": service}]})
        body: Document = {"parentRefs": _parent(service), "rules": rules}
        documents.add(entry, "HTTPRoute", route, body, GATEWAY_API)


def convert_tcp_route(spec: Value, name: str, documents: Documents) -> None:
    """Add what one MeshTCPRoute says: a TCPRoute for each destination."""
    for route, service, entry in _destinations(spec, name):
        defaults = [default for rule in entry.items("rules") if (default := rule.get("default"))]
        backends = [ref for default in defaults for ref in _backends(default, documents)]
        if not backends:
            entry.problem("has no backend in the mesh: it is not converted")
            continue
        body: Document = {"parentRefs": _parent(service), "rules": [{"backendRefs": backends}]}
        documents.add(entry, "TCPRoute", route, body, GATEWAY_API)


def _destinations(spec: Value, name: str) -> Iterator[tuple[str, str, Value]]:
    """The entries of `to` that are about a service of the mesh: a name, the service, and the entry."""
    callers = proxies(spec)
    if callers:
        spec.problem("is for some callers, and a route is for all of them: it is not converted")
    if callers != []:
        spec.skip()
        return
    for index, entry in enumerate(spec.items("to")):
        ref = entry.get("targetRef")
        kind = ref.text("kind") if ref else ""
        if ref and kind != "MeshService":
            ref.problem(f"is a {kind}, and routes are for services: its entry is not converted")
        service = service_name(ref) if ref and kind == "MeshService" else ""
        if not service:
            entry.skip()
            continue
        yield (name if index == 0 else f"{name}-{index + 1}"), service, entry


def _parent(service: str) -> list[Document]:
    return [{"group": "", "kind": "Service", "name": service}]


def _rule(rule: Value, service: str, documents: Documents) -> Document | None:
    """One rule; None, and remarks, if no match of it is left."""
    sources = rule.items("matches")
    matches = [match for source in sources if (match := _match(source)) is not None]
    if sources and not matches:
        rule.skip()
        return None
    result: Document = {"matches": matches} if matches else {}
    default = rule.get("default")
    changes = _filters(default, documents) if default else []
    if changes:
        result["filters"] = changes
    if any(change["type"] == "RequestRedirect" for change in changes):
        return result
    if default is None or default.get("backendRefs") is None:
        return result | {"backendRefs": [{"name": service}]}
    backends = _backends(default, documents)
    return result | ({"backendRefs": backends} if backends else {})


def _match(source: Value) -> Document | None:
    result: Document = {}
    if path := source.get("path"):
        result["path"] = {"type": path.text("type", "PathPrefix"), "value": path.text("value")}
        if result["path"] == {"type": "PathPrefix", "value": "/"}:
            del result["path"]
    if method := source.text("method"):
        result["method"] = method
    for field in ("headers", "queryParams"):
        if values := [_value(item) for item in source.items(field)]:
            result[field] = values
    if problem := invalid(HTTPRouteMatch, result):
        source.problem(f"is not converted, and matches nothing: {problem}")
        return None
    return result


def _value(item: Value) -> Document:
    """A match on a header or a parameter. One on its absence stays invalid, so that its match is left out."""
    kind, name, value = item.text("type", "Exact"), item.text("name"), item.text("value")
    if kind == "Present":
        return {"type": "RegularExpression", "name": name, "value": ".*"}
    if kind == "Prefix":
        return {"type": "RegularExpression", "name": name, "value": f"{re.escape(value)}.*"}
    return {"type": kind, "name": name, "value": value}


def _filters(default: Value, documents: Documents) -> list[Document]:
    result = []
    for source in default.items("filters"):
        kind = source.text("type")
        if kind == "RequestMirror":
            document = _mirror(source, documents)
        elif kind in _BODIES and (body := source.get(_BODIES[kind])):
            document = {"type": kind, _BODIES[kind]: _header_changes(body) | _changes(body)}
        else:
            source.problem(f"is not converted: there is no filter {kind}")
            continue
        if document and (problem := invalid(HTTPRouteFilter, document)):
            source.problem(f"is not converted: {problem}")
        elif document:
            result.append(document)
    return result


def _header_changes(body: Value) -> Document:
    result: Document = {}
    for action in ("set", "add"):
        if items := body.items(action):
            result[action] = [{"name": item.text("name"), "value": item.text("value")} for item in items]
    if removed := body.items("remove"):
        result["remove"] = [item.string() for item in removed]
    return result


def _changes(body: Value) -> Document:
    """Host, path and the like of a redirect or a rewrite."""
    values = {field: value.node.value for field in _VALUES if (value := body.get(field))}
    path = body.get("path")
    if path is None:
        return values
    fields = ("type", "replaceFullPath", "replacePrefixMatch")
    return values | {"path": {field: value.string() for field in fields if (value := path.get(field))}}


def _mirror(source: Value, documents: Documents) -> Document | None:
    mirror = source.get("requestMirror")
    backend = mirror.get("backendRef") if mirror else None
    ref = backend_ref(backend, documents) if backend else None
    if mirror is None or ref is None:
        return None
    percent = share(mirror.get("percentage"))
    part: Document = {"fraction": {"numerator": round(percent * 10_000), "denominator": 1_000_000}}
    if percent == int(percent):
        part = {"percent": int(percent)} if percent < 100 else {}
    return {"type": "RequestMirror", "requestMirror": {"backendRef": ref} | part}


def _backends(default: Value, documents: Documents) -> list[Document]:
    result = []
    for source in default.items("backendRefs"):
        weight = source.integer("weight")
        if ref := backend_ref(source, documents):
            result.append(ref | ({} if weight is None else {"weight": weight}))
    return result
