"""What the chain of one service says, as an HTTPRoute or a TCPRoute with the policies of its rules."""

from __future__ import annotations

import re
from typing import get_args

from meshwright.cli.convert.consul.chain import Backend, Chain, elsewhere, header_changes
from meshwright.cli.convert.consul.conditions import value_match
from meshwright.cli.convert.documents import GATEWAY_API, Document, invalid
from meshwright.cli.convert.durations import read_duration
from meshwright.cli.convert.istio.filters import new_path
from meshwright.cli.convert.istio.precedence import RuleMatches, SourcedMatch, keep_order
from meshwright.cli.convert.istio.virtual_service import add_routes
from meshwright.cli.convert.reading import Value
from meshwright.control_plane.policies.httproute.matches import HTTPRouteMatch
from meshwright.control_plane.policies.httproute.spec import HTTPRouteRule
from meshwright.control_plane.policies.retry.spec import RetryConditionName

_CONDITIONS = {"pathExact", "pathPrefix", "pathRegex", "caseInsensitive", "header", "queryParam", "methods"}
_MAX_ATTEMPTS = 10
_REFUSED = "requests that it matches get 500"


def add_route(service: str, chain: Chain) -> None:
    """Add the route of one service, if its requests do not simply go there."""
    source = next(
        entries[service]
        for entries in (chain.routers, chain.splitters, chain.resolvers)
        if service in entries
    )
    backends = _weighted(chain.split(service, source))
    protocol = chain.protocols.get(service) or chain.protocols.get("", "")
    parents: list[Document] = [{"group": "", "kind": "Service", "name": service}]
    if protocol == "tcp" and service not in chain.routers and service not in chain.splitters:
        if backends:
            rules: list[Document] = [{"backendRefs": backends}]
            chain.add(source, "TCPRoute", service, {"parentRefs": parents, "rules": rules}, GATEWAY_API)
        else:
            source.problem("has no backend in the mesh, so there is no route", below=False)
        return
    router = chain.routers.get(service)
    if router is None and not protocol:
        source.note("becomes a route for HTTP: nothing here says what the service's protocol is")
    rules = _rules(router.items("routes") if router else [], service, chain)
    last = {"name": "others"} | ({"backendRefs": backends} if backends else {})
    if not any("matches" not in rule for rule in rules):
        rules.append(last | {"policies": {}})
    add_routes(source, service, {"parentRefs": parents}, rules, chain)


def _weighted(backends: list[Backend]) -> list[Document]:
    integral = all(share == int(share) for share, _, _ in backends)
    result = []
    for share, ref, changes in backends:
        weight = {"weight": int(share) if integral else round(share * 100)} if len(backends) > 1 else {}
        result.append(ref | weight | ({"filters": changes} if changes else {}))
    return result


def _rules(routes: list[Value], service: str, chain: Chain) -> list[Document]:
    matched = [
        RuleMatches([SourcedMatch(route, match, match) for match in _matches(route)]) for route in routes
    ]
    keep_order(matched)
    result: list[Document] = []
    for index, (route, rule) in enumerate(zip(routes, matched, strict=True)):
        entries = [*rule.matches, *rule.added]
        destination = route.get("destination")
        action = _action(destination, service, chain) if destination else _to_service(route, service, chain)
        policies = _policies(destination) if destination else {}
        prefix = destination.text("prefixRewrite") if destination else ""
        groups = [[entry] for entry in entries] if prefix else [entries] if entries else []
        for count, group in enumerate(groups):
            name = f"rule-{index + 1}" + (f"-{count + 1}" if count else "")
            changes = list(action.get("filters", []))
            if prefix:
                path = new_path(prefix, group[0].original.get("path"), group[0].match.get("path"))
                changes.append({"type": "URLRewrite", "urlRewrite": {"path": path}})
            document: Document = {"name": name}
            if matches := [entry.match for entry in group if entry.match]:
                document["matches"] = matches
            checked = document | action | ({"filters": changes} if changes else {})
            if problem := invalid(HTTPRouteRule, checked):
                route.problem(f"cannot be a rule here: {problem}; {_REFUSED}", below=False)
                checked = document
            result.append(checked | {"policies": policies})
    return result


def _to_service(route: Value, service: str, chain: Chain) -> Document:
    return _backends(_weighted(chain.split(service, route)), route)


def _action(destination: Value, service: str, chain: Chain) -> Document:
    """Backends, changes of headers and the timeout. Without a backend requests are refused."""
    target, subset = destination.text("service") or service, destination.text("serviceSubset")
    if elsewhere(destination):
        backends = []
    elif subset:
        ref = chain.resolve(target, subset, destination)
        backends = [] if ref is None else [ref]
    else:
        backends = _weighted(chain.split(target, destination))
    action = _backends(backends, destination)
    if changes := header_changes(destination):
        action["filters"] = changes
    if timeout := read_duration(destination.get("requestTimeout")):
        action["timeouts"] = {"request": timeout}
    return action


def _backends(backends: list[Document], source: Value) -> Document:
    if not backends:
        source.problem(f"has no backend in the mesh: {_REFUSED}", below=False)
    return {"backendRefs": backends} if backends else {}


def _policies(destination: Value) -> Document:
    """The policies of a rule, by kind."""
    result: Document = {}
    if idle := read_duration(destination.get("idleTimeout")):
        result["Timeout"] = {"idle": idle}
    attempts = destination.integer("numRetries")
    conditions: list[str | int] = []
    for item in destination.items("retryOn"):
        if item.string() in get_args(RetryConditionName):
            conditions.append(item.string())
        else:
            item.problem("is no condition here: it is left out")
    if destination.flag("retryOnConnectFailure"):
        conditions.append("connect-failure")
    conditions += [
        item.node.value
        for item in destination.items("retryOnStatusCodes")
        if isinstance(item.node.value, int)
    ]
    if not conditions:
        if attempts:
            destination.problem("has numRetries, and no condition for them: there is no Retry", below=False)
        return result
    if attempts is not None and attempts > _MAX_ATTEMPTS:
        message = f"has {attempts} retries, and {_MAX_ATTEMPTS} are possible: it has {_MAX_ATTEMPTS}"
        destination.problem(message, below=False)
    destination.note("retries idempotent requests only here: a POST that may be done is not sent again")
    retry = {"attempts": min(attempts or 1, _MAX_ATTEMPTS), "on": list(dict.fromkeys(conditions))}
    return result | {"Retry": retry}


def _matches(route: Value) -> list[Document]:
    """The matches of a rule, one for each method; one without conditions if it is for every request."""
    match = route.get("match")
    http = match.get("http") if match else None
    if match is None or not match.node.value:
        return [{}]
    unknown = set(http.node.value) - _CONDITIONS if http and isinstance(http.node.value, dict) else {"http"}
    if http is None or unknown:
        match.problem(f"has conditions that are not known ({', '.join(sorted(map(str, unknown)))}): left out")
        return []
    result: Document = {}
    if path := _path(http):
        result["path"] = path
    for theirs, ours in (("header", "headers"), ("queryParam", "queryParams")):
        entries = [value_match(item) for item in http.items(theirs)]
        if None in entries:
            return []
        if entries:
            result[ours] = entries
    methods = [item.string() for item in http.items("methods")]
    matches = [result | {"method": method} for method in methods] or [result]
    if problem := next((text for each in matches if (text := invalid(HTTPRouteMatch, each))), ""):
        http.problem(f"is not converted, and matches nothing: {problem}")
        return []
    return matches


def _path(http: Value) -> Document | None:
    ignores_case = http.flag("caseInsensitive")
    for field, kind in (
        ("pathExact", "Exact"),
        ("pathPrefix", "PathPrefix"),
        ("pathRegex", "RegularExpression"),
    ):
        value = http.get(field)
        text = value.string() if value else ""
        if value is None or not text:
            continue
        if ignores_case:
            end = ".*" if kind == "PathPrefix" else ""
            pattern = text if kind == "RegularExpression" else re.escape(text)
            return {"type": "RegularExpression", "value": f"(?i){pattern}{end}"}
        if kind == "PathPrefix":
            text = text.rstrip("/") or "/"
            if text == "/":
                return None
            value.note(f"matches {text} and what is below it here, not every path that begins with it")
        return {"type": kind, "value": text}
    return None
