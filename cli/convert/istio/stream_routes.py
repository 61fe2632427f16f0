"""`tcp` and `tls` of a VirtualService as TCPRoute and TLSRoute."""

from __future__ import annotations

from collections.abc import Mapping

from meshwright.cli.convert.documents import GATEWAY_API, Document
from meshwright.cli.convert.istio.fields import STREAM_CONDITIONS
from meshwright.cli.convert.istio.scope import MESH, Scope, backend_ref
from meshwright.cli.convert.reading import Value


def add_stream_routes(spec: Value, name: str, parents: Mapping[str, list[Document]], scope: Scope) -> None:
    """Add a TCPRoute for each rule of `tcp`, and a TLSRoute for each rule of `tls`."""
    for index, rule in enumerate(spec.items("tcp")):
        suffix = "" if index == 0 else f"-{index + 1}"
        _add_tcp(rule, f"{name}{suffix}", parents, scope)
    for index, rule in enumerate(spec.items("tls")):
        suffix = "" if index == 0 else f"-{index + 1}"
        _add_tls(rule, f"{name}{suffix}", parents, scope)


def _add_tcp(rule: Value, name: str, parents: Mapping[str, list[Document]], scope: Scope) -> None:
    backends = _backends(rule, scope)
    references = [ref for each in parents.values() for ref in each]
    matches = rule.items("match")
    if matches:
        ports = [match.integer("port") for match in matches]
        references = [ref | ({"port": port} if port else {}) for ref in references for port in ports]
    if not backends:
        rule.problem("has no backend in the mesh: it is not converted")
    elif not _has_other_conditions(matches):
        body = {"parentRefs": references, "rules": [{"backendRefs": backends}]}
        scope.add(rule, "TCPRoute", name, body, GATEWAY_API)


def _add_tls(rule: Value, name: str, parents: Mapping[str, list[Document]], scope: Scope) -> None:
    backends = _backends(rule, scope)
    references = [ref for gateway, each in parents.items() if gateway != MESH for ref in each]
    matches = rule.items("match")
    hosts = [host.string() for match in matches for host in match.items("sniHosts")]
    for match in matches:
        match.get("port")
    if not backends or not references:
        rule.problem("is not converted: TLS is routed at gateways, to services of the mesh")
    elif not _has_other_conditions(matches):
        body = {"parentRefs": references, "hostnames": hosts, "rules": [{"backendRefs": backends}]}
        scope.add(rule, "TLSRoute", name, body, GATEWAY_API)


def _has_other_conditions(matches: list[Value]) -> bool:
    """Whether a match has a condition that no route can have; each is a remark."""
    conditions = [
        (value, reason)
        for match in matches
        for name, reason in STREAM_CONDITIONS.items()
        if (value := match.get(name))
    ]
    for value, reason in conditions:
        value.problem(f"is not converted, so its rule is left out: {reason}")
    return bool(conditions)


def _backends(rule: Value, scope: Scope) -> list[Document]:
    """backendRefs with their weights; a single one has all connections."""
    routes = rule.items("route")
    result: list[Document] = []
    for route in routes:
        destination = route.get("destination")
        ref = backend_ref(scope, destination) if destination else None
        weight = route.integer("weight") or 0
        if ref:
            result.append(ref if len(routes) == 1 else ref | {"weight": weight})
    return result
