"""VirtualService as HTTPRoute, TCPRoute and TLSRoute, with Retry and FaultInjection for their rules."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from meshwright.cli.convert.documents import GATEWAY_API, Document, Documents, invalid
from meshwright.cli.convert.durations import read_duration
from meshwright.cli.convert.istio import filters
from meshwright.cli.convert.istio.matches import gateway_name, read_matches
from meshwright.cli.convert.istio.precedence import RuleMatches, SourcedMatch, keep_order
from meshwright.cli.convert.istio.rule_policies import fault_spec, retry_spec
from meshwright.cli.convert.istio.scope import MESH, Scope, backend_ref, service_name
from meshwright.cli.convert.istio.stream_routes import add_stream_routes
from meshwright.cli.convert.reading import Value
from meshwright.control_plane.policies.httproute.spec import HTTPRouteRule

MAX_RULES = 16
"""Rules of one HTTPRoute (Gateway API v1)."""

_RULE_POLICIES = ("Retry", "FaultInjection", "Timeout")
"""Kinds of policies for a single rule."""

_REFUSED = "requests that it matches get 500"
_RULE_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


def convert_virtual_service(document: Value, name: str, scope: Scope) -> None:
    """Add what one VirtualService says."""
    spec = document.get("spec")
    if spec is None:
        document.problem("VirtualService has no spec: it is not converted")
        return
    parents = _parents(spec, scope)
    if not parents:
        spec.skip()  # a host or a gateway has the remark
        return
    rules = spec.items("http")
    converted = {gateway: _rules(rules, gateway, scope) for gateway in parents} if rules else {}
    groups: list[tuple[list[str], list[Document]]] = []
    for gateway, documents in converted.items():
        same = next((gateways for gateways, other in groups if other == documents), None)
        if same is None:
            groups.append(([gateway], documents))
        else:
            same.append(gateway)
    for gateways, documents in groups:
        suffix = "" if len(groups) == 1 else f"-{gateways[0]}"
        body: Document = {"parentRefs": [ref for gateway in gateways for ref in parents[gateway]]}
        if hostnames := _hostnames(spec, gateways):
            body["hostnames"] = hostnames
        add_routes(spec, f"{name}{suffix}", body, documents, scope)
    add_stream_routes(spec, name, parents, scope)


def _parents(spec: Value, scope: Scope) -> dict[str, list[Document]]:
    """parentRefs by gateway; `mesh` stands for the services that the hosts name."""
    entries = spec.items("gateways")
    for entry in entries:
        if scope.open_listeners.get(gateway_name(entry.string())) == ():
            entry.problem("has no listener here that takes routes: the routes do not attach to it")
    gateways = [gateway_name(entry.string()) for entry in entries] or [MESH]
    hosts = spec.get("hosts")
    if hosts is not None and MESH not in gateways:
        hosts.skip()  # at a gateway they count for HTTP alone: TLS has sniHosts
    result: dict[str, list[Document]] = {}
    for gateway in dict.fromkeys(gateways):
        if gateway == MESH:
            services = dict.fromkeys(_services(spec, only=len(gateways) == 1))
            result[gateway] = [{"group": "", "kind": "Service", "name": name} for name in services]
        else:
            listeners = scope.open_listeners.get(gateway)
            result[gateway] = (
                [{"name": gateway}]
                if listeners is None
                else [{"name": gateway, "sectionName": listener} for listener in listeners]
            )
    return {gateway: references for gateway, references in result.items() if references}


def _services(spec: Value, *, only: bool) -> Iterator[str]:
    """The services that the hosts name; other hosts are remarks if nothing but the mesh has the routes."""
    for host in spec.items("hosts"):
        if service := service_name(host.string()):
            yield service
        elif only:
            host.problem("is not a service of the mesh: calls to it are not routed")


def _hostnames(spec: Value, gateways: Sequence[str]) -> list[str]:
    """The hosts at a gateway; none for every host."""
    if list(gateways) == [MESH]:
        return []
    hosts = [host.string() for host in spec.items("hosts")]
    return [] if "*" in hosts else hosts


def _rules(rules: list[Value], gateway: str, scope: Scope) -> list[Document]:
    """The rules for a gateway. Each has its policies under `policies`, by kind."""
    matched = [
        RuleMatches([SourcedMatch(source, match, match) for source, match in read_matches(rule, gateway)])
        for rule in rules
    ]
    keep_order(matched)
    result: list[Document] = []
    for index, (rule, matches) in enumerate(zip(rules, matched, strict=True)):
        name = rule.text("name")
        if not _RULE_NAME.fullmatch(name):
            name = f"rule-{index + 1}"
        result += _documents_of_rule(rule, name, [*matches.matches, *matches.added], scope)
    return result


def _documents_of_rule(
    rule: Value, name: str, matches: list[SourcedMatch], scope: Scope
) -> Iterator[Document]:
    """One rule for all matches, or one for each rewrite: a replaced prefix is that of a single match."""
    action = _action(rule, scope)
    policies = {"Retry": retry_spec(rule), "FaultInjection": fault_spec(rule)}
    groups: list[tuple[list[Document], list[Document]]] = []
    for entry in matches:
        rewrites = filters.rewrite_filters(rule, entry.original, entry.match)
        same = next((group for new, group in groups if new == rewrites and not _of_prefix(new)), None)
        if same is None:
            groups.append((rewrites, [entry.match]))
        else:
            same.append(entry.match)
    for count, (rewrites, group) in enumerate(groups):
        document: Document = {"name": name if count == 0 else f"{name}-{count + 1}"}
        if group != [{}]:
            document["matches"] = group
        changes = [*action.get("filters", []), *rewrites]
        document |= action | ({"filters": changes} if changes else {})
        if problem := invalid(HTTPRouteRule, document):
            rule.problem(f"cannot be a rule here: {problem}; {_REFUSED}")
            document = {"name": document["name"]} | ({"matches": group} if group != [{}] else {})
        yield document | {"policies": {kind: spec for kind, spec in policies.items() if spec}}


def _of_prefix(rewrites: list[Document]) -> bool:
    return any(item["urlRewrite"].get("path", {}).get("type") == "ReplacePrefixMatch" for item in rewrites)


def _action(rule: Value, scope: Scope) -> Document:
    """Filters, backends and timeouts. A rule whose action cannot be converted has none, so it refuses."""
    for field in ("directResponse", "delegate"):
        if value := rule.get(field):
            value.problem(f"is not converted: {_REFUSED}")
    result: Document = {}
    redirect = filters.redirect_filters(rule)
    changes = filters.header_filters(rule) + redirect + filters.cors_filters(rule)
    changes += filters.mirror_filters(rule, scope)
    if changes:
        result["filters"] = changes
    backends = [ref for ref in (_weighted(item, scope) for item in rule.items("route")) if ref]
    if len(backends) == 1 and len(rule.items("route")) == 1:
        del backends[0]["weight"]
    if backends and not redirect:
        result["backendRefs"] = backends
    if timeout := read_duration(rule.get("timeout")):
        result["timeouts"] = {"request": timeout}
    return result


def _weighted(route: Value, scope: Scope) -> Document | None:
    """One destination with its weight and the changes of its share."""
    destination = route.get("destination")
    ref = backend_ref(scope, destination) if destination else None
    weight = route.integer("weight") or 0
    changes = filters.header_filters(route)
    if ref is None:
        return None
    return ref | {"weight": weight} | ({"filters": changes} if changes else {})


def add_routes(spec: Value, name: str, body: Document, rules: list[Document], scope: Documents) -> None:
    """Add the routes for these rules, 16 rules each, and the policies of the rules."""
    targets: dict[str, list[tuple[Document, list[Document]]]] = {kind: [] for kind in _RULE_POLICIES}
    for start in range(0, len(rules), MAX_RULES):
        route = name if start == 0 else f"{name}-part-{start // MAX_RULES + 1:02}"
        part = rules[start : start + MAX_RULES]
        plain = [{key: rule[key] for key in rule if key != "policies"} for rule in part]
        route = scope.add(spec, "HTTPRoute", route, body | {"rules": plain}, GATEWAY_API)
        for rule in part if route else ():
            target = {"kind": "HTTPRoute", "name": route, "sectionName": rule["name"]}
            for kind, policy in rule["policies"].items():
                same = next((refs for other, refs in targets[kind] if other == policy), None)
                if same is None:
                    targets[kind].append((policy, [target]))
                else:
                    same.append(target)
    for kind, entries in targets.items():
        for policy, refs in entries:
            rule_name = "" if len(entries) == 1 else f"-{refs[0]['sectionName']}"
            scope.add(spec, kind, f"{name}{rule_name}", {"targetRefs": refs} | policy)
