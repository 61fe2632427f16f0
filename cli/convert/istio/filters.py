"""What Istio's HTTPRoute changes in requests and responses, as filters of our rules."""

from __future__ import annotations

from typing import Any

from meshwright.cli.convert.documents import Document, invalid
from meshwright.cli.convert.durations import read_duration
from meshwright.cli.convert.istio.scope import Scope, backend_ref
from meshwright.cli.convert.reading import Value
from meshwright.control_plane.policies import duration
from meshwright.control_plane.policies.httproute.filters import HTTPRouteFilter


def header_filters(owner: Value) -> list[Document]:
    """`headers` of a rule or destination as header modifiers."""
    headers = owner.get("headers")
    if headers is None:
        return []
    return [
        *header_modifier(headers.get("request"), "RequestHeaderModifier", "requestHeaderModifier"),
        *header_modifier(headers.get("response"), "ResponseHeaderModifier", "responseHeaderModifier"),
    ]


def header_modifier(changes: Value | None, kind: str, field: str) -> list[Document]:
    if changes is None:
        return []
    body: dict[str, Any] = {}
    for action in ("set", "add"):
        entries = []
        for name, value in changes.mapping(action).items():
            if "%" in value.string():
                value.problem("has a variable of Envoy's, and headers are literal here: see HeaderPolicy")
            else:
                entries.append({"name": name, "value": value.string()})
        if entries:
            body[action] = entries
    if removed := [item.string() for item in changes.items("remove")]:
        body["remove"] = removed
    return checked(changes, {"type": kind, field: body}) if body else []


def checked(source: Value, item: Document) -> list[Document]:
    """The filter, if it is valid; otherwise nothing but a remark."""
    if problem := invalid(HTTPRouteFilter, item):
        source.problem(f"is not converted: {problem}")
        return []
    return [item]


def mirror_filters(rule: Value, scope: Scope) -> list[Document]:
    """Copies of requests: `mirror` with its percentage, and `mirrors`."""
    result: list[Document] = []
    if mirror := rule.get("mirror"):
        share = percentage(rule, "mirrorPercentage")
        if share is None:
            share = rule.number("mirrorPercent")
        result += _mirror(mirror, scope, share)
    for each in rule.items("mirrors"):
        if destination := each.get("destination"):
            result += _mirror(destination, scope, percentage(each, "percentage"))
    return result


def _mirror(destination: Value, scope: Scope, share: float | None) -> list[Document]:
    ref = backend_ref(scope, destination)
    if ref is None:
        return []
    body: Document = {"backendRef": ref}
    if share is not None and share == int(share):
        body["percent"] = int(share)
    elif share is not None:
        body["fraction"] = {"numerator": round(share * 10_000), "denominator": 1_000_000}
    return checked(destination, {"type": "RequestMirror", "requestMirror": body})


def percentage(owner: Value, name: str) -> float | None:
    """Istio's Percent, 0 to 100; None if it is missing."""
    value = owner.get(name)
    return (value.number("value") or 0.0) if value else None


def cors_filters(rule: Value) -> list[Document]:
    """`corsPolicy` as a CORS filter. An origin that cannot be written may not call."""
    cors = rule.get("corsPolicy")
    if cors is None:
        return []
    origins = [item.string() for item in cors.items("allowOrigin")]
    for origin in cors.items("allowOrigins"):
        if text := _origin(origin):
            origins.append(text)
    if cors.text("unmatchedPreflights") == "IGNORE" and (preflights := cors.get("unmatchedPreflights")):
        preflights.problem("is not converted: preflight requests of other origins pass to the service")
    if not origins:
        cors.problem("names no origin that can be written here, so no page may call: add a CORS filter")
        return []
    body: Document = {"allowOrigins": ["*"] if "*" in origins else list(dict.fromkeys(origins))}
    for field in ("allowMethods", "allowHeaders", "exposeHeaders"):
        if values := [item.string() for item in cors.items(field)]:
            body[field] = ["*"] if "*" in values else values
    if cors.flag("allowCredentials"):
        body["allowCredentials"] = True
    max_age = cors.get("maxAge")
    if max_age and (age := read_duration(max_age)):
        body["maxAge"] = int(duration.parse(age).total_seconds())
    return checked(cors, {"type": "CORS", "cors": body})


def _origin(origin: Value) -> str:
    exact, pattern = origin.get("exact"), origin.get("regex")
    if exact:
        return exact.string()
    if pattern and pattern.string() in (".*", ".+"):
        return "*"
    origin.get("prefix")
    origin.problem("is no exact origin: write https://*.example.com, or each origin; it may not call now")
    return ""


def redirect_filters(rule: Value) -> list[Document]:
    """`redirect` as a RequestRedirect filter; nothing without one, or if it is invalid."""
    redirect = rule.get("redirect")
    if redirect is None:
        return []
    body: Document = {}
    if scheme := redirect.text("scheme"):
        body["scheme"] = scheme
    host, _, port = redirect.text("authority").partition(":")
    number = redirect.integer("port") or (int(port) if port.isdecimal() else None)
    if host:
        body["hostname"] = host
    derived = redirect.get("derivePort")
    if derived is not None and (derived.string() == "FROM_PROTOCOL_DEFAULT") != bool(scheme):
        derived.problem("is not converted: the port is that of the new scheme, without one the listener's")
    if number:
        body["port"] = number
    if path := redirect.text("uri"):
        body["path"] = {"type": "ReplaceFullPath", "replaceFullPath": path}
    elif prefix := redirect.text("prefixRewrite"):
        body["path"] = {"type": "ReplacePrefixMatch", "replacePrefixMatch": prefix}
    body["statusCode"] = redirect.integer("redirectCode") or 301
    return checked(redirect, {"type": "RequestRedirect", "requestRedirect": body})


def rewrite_filters(rule: Value, original: Document, match: Document) -> list[Document]:
    """`rewrite` for requests of a match, which may be a narrower one than the `original` of its rule."""
    rewrite = rule.get("rewrite")
    if rewrite is None:
        return []
    body: Document = {}
    if host := rewrite.text("authority"):
        body["hostname"] = host
    if uri := rewrite.text("uri"):
        body["path"] = new_path(uri, original.get("path"), match.get("path"))
    return checked(rewrite, {"type": "URLRewrite", "urlRewrite": body}) if body else []


def new_path(uri: str, original: Document | None, path: Document | None) -> Document:
    """The replacement of a path: of the prefix that matched, otherwise of all of it, as in Istio."""
    original = original or {"type": "PathPrefix", "value": "/"}
    path = path or original
    if original["type"] != "PathPrefix":
        return {"type": "ReplaceFullPath", "replaceFullPath": uri}
    rest = path["value"][len(original["value"].rstrip("/")) :] if path["type"] != "RegularExpression" else ""
    new = uri if path == original else uri.rstrip("/") + rest
    if path["type"] == "PathPrefix":
        return {"type": "ReplacePrefixMatch", "replacePrefixMatch": new}
    return {"type": "ReplaceFullPath", "replaceFullPath": new or "/"}
