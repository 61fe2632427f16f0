"""Kubernetes' Service as a service of the application file, or as ExternalService."""

from __future__ import annotations

import re

from meshwright.cli.convert.documents import Document, service_target
from meshwright.cli.convert.istio.scope import Scope
from meshwright.cli.convert.reading import Value

_PROTOCOLS = {
    "http": "http", "http2": "http", "grpc-web": "http", "kubernetes.io/ws": "http", "ws": "http",
    "grpc": "grpc", "kubernetes.io/h2c": "grpc", "h2c": "grpc",
    "tcp": "tcp", "tls": "tcp", "https": "tcp", "kubernetes.io/wss": "tcp", "mongo": "tcp", "mysql": "tcp",
    "redis": "tcp",
}  # fmt: skip
"""By appProtocol, or the beginning of a port's name as Istio reads it. An app's TLS is passed on."""

_OPENED_BY_APPS = ("https", "tls")
"""What apps speak to hosts outside with TLS of their own."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_OUTSIDE_TYPES = ("NodePort", "LoadBalancer")
_DEFAULTS = {"sessionAffinity": "None", "internalTrafficPolicy": "Cluster"}
"""Fields with one value that means what a mesh does anyway."""

_ADVICE = {
    "sessionAffinity": "a LoadBalancer with hashOn keeps callers at one instance",
    "internalTrafficPolicy": "see LoadBalancer, `locality`",
}
_CLOSE = ("PreferClose", "PreferSameZone")


def convert_service(document: Value, name: str, scope: Scope) -> None:
    """Add the service that one Service declares."""
    spec = document.get("spec")
    if spec is None:
        document.problem("Service has no spec: it is not converted")
        return
    for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if value := spec.get(field):
            value.skip()
    for field, default in _DEFAULTS.items():
        if (value := spec.get(field)) and value.string() != default:
            value.problem(f"is {value.string()!r} and is not converted: {_ADVICE[field]}")
    word = spec.get("type")
    if word and word.string() == "ExternalName":
        _add_outside(spec, name, scope)
        return
    if word and word.string() in _OUTSIDE_TYPES:
        word.problem(f"is {word.string()} and opens nothing here: write a Gateway and a route to {name}")
    ports = [port for entry in spec.items("ports") if (port := _port(entry, name, scope))]
    selector = spec.get("selector")
    if selector is None:
        document.problem(
            f"Service {name} has no selector: if its endpoints are outside, write an ExternalService"
        )
        return
    selector.note(f"names pods, and instances are processes here: write the command of {name} for ./{name}")
    selector.skip()
    if not ports:
        spec.problem("has no port that is converted, so there is no service", below=False)
        return
    scope.application.add_service(spec, name, {"command": [f"./{name}"], "ports": ports})
    _add_distribution(spec, name, scope)


def _port(entry: Value, service: str, scope: Scope) -> Document | None:
    """A port of the application file; None, and a remark, if it is none of TCP."""
    transport, number = entry.text("protocol", "TCP"), entry.integer("port")
    if transport != "TCP" or number is None:
        entry.problem(f"is not converted: a port needs a number, and {transport} is not carried")
        return None
    name = entry.text("name")
    if name:
        scope.ports[service, name] = number
    protocol = _protocol(entry, name)
    if protocol == "tcp":
        entry.note(f"is a tcp port: callers name {service} in their `upstreams`")
    label = name if _NAME.fullmatch(name) else protocol
    return {"name": label, "port": _app_port(entry, number), "number": number, "protocol": protocol}


def _protocol(entry: Value, name: str) -> str:
    """What a port speaks: as appProtocol says, or the beginning of its name, or else http."""
    stated = entry.get("appProtocol")
    word = stated.string().lower() if stated else ""
    if word in _PROTOCOLS:
        return _PROTOCOLS[word]
    if stated:
        stated.problem(f"is {word!r}, which is not spoken here: the port passes connections (tcp)")
        return "tcp"
    begin = "grpc-web" if name.startswith("grpc-web") else name.partition("-")[0]
    if begin not in _PROTOCOLS:
        entry.note("does not say what it speaks, which Istio detects: it is http here")
    return _PROTOCOLS.get(begin, "http")


def _app_port(entry: Value, number: int) -> int:
    """The port that the app listens on; 0, which is a free one, if a pod would have to say it."""
    target = entry.get("targetPort")
    if target is None:
        return number
    if isinstance(target.node.value, int):
        return entry.integer("targetPort") or 0
    target.note("names a port of pods: the app gets a free port here, as PORT")
    return 0


def _add_outside(spec: Value, name: str, scope: Scope) -> None:
    """Add what stands for another name, which callers have to use: names without a dot are ours."""
    alias = spec.get("externalName")
    if alias is None:
        spec.problem("has no externalName: it is not converted")
        return
    if selector := spec.get("selector"):
        selector.skip()  # Kubernetes ignores it, too
    ports = [port for entry in spec.items("ports") if (port := _outside_port(entry))]
    host = alias.string()
    alias.note(f"is outside the mesh: callers use {host} in place of {name}")
    body: Document = {"hosts": [host], "resolution": "dns"} | ({"ports": ports} if ports else {})
    if made := scope.add(spec, "ExternalService", name, body):
        scope.externals[name] = made


def _outside_port(entry: Value) -> Document | None:
    name, number = entry.text("name"), entry.integer("port")
    spoken = entry.get("appProtocol")
    word = spoken.string().lower() if spoken else name.partition("-")[0]
    entry.skip()
    return (
        {"port": number, "protocol": word if word in _OPENED_BY_APPS else _protocol(entry, name)}
        if number
        else None
    )


def _add_distribution(spec: Value, name: str, scope: Scope) -> None:
    distribution = spec.get("trafficDistribution")
    if distribution is None:
        return
    if distribution.string() not in _CLOSE:
        distribution.problem(
            f"is {distribution.string()!r} and is not converted: instances of a zone can be preferred"
        )
        return
    distribution.note("goes by the label `zone` of instances")
    body: Document = {"targetRefs": service_target(name), "locality": {"prefer": "Zone"}}
    scope.add(distribution, "LoadBalancer", name, body)
