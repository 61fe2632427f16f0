"""Ingress as HTTPRoute, with a Gateway for each class, which all Ingresses of the class share."""

from __future__ import annotations

from meshwright.cli.convert.documents import GATEWAY_API, Document, invalid
from meshwright.cli.convert.istio.scope import IngressGateway, Scope
from meshwright.cli.convert.istio.virtual_service import add_routes
from meshwright.cli.convert.reading import Value
from meshwright.control_plane.policies.httproute.matches import HTTPRouteMatch

DEFAULT_GATEWAY = "ingress"
"""The gateway of Ingresses without a class."""

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
DEFAULT_ANNOTATION = "ingressclass.kubernetes.io/is-default-class"
_WRITTEN_BY_KUBECTL = "kubectl.kubernetes.io/last-applied-configuration"


def default_class(document: Value) -> str:
    """The name of an IngressClass, if it is the default; otherwise empty."""
    metadata = document.get("metadata")
    annotations = metadata.mapping("annotations") if metadata else {}
    is_default = DEFAULT_ANNOTATION in annotations and annotations[DEFAULT_ANNOTATION].node.value == "true"
    return metadata.text("name") if metadata and is_default else ""


def convert_ingress_class(document: Value, _name: str, _scope: Scope) -> None:
    """Nothing becomes of it but the default, which is read before."""
    if (spec := document.get("spec")) and (controller := spec.get("controller")):
        controller.skip()


def convert_ingress(document: Value, name: str, scope: Scope) -> None:
    """Add the routes of one Ingress, and the listeners that it needs."""
    spec = document.get("spec")
    gateway = _gateway_name(document, spec, scope)
    if spec is None:
        document.problem("Ingress has no spec: it is not converted")
        return
    shared = scope.ingress_gateways.setdefault(gateway, IngressGateway(document))
    for entry in spec.items("tls"):
        _add_tls(entry, shared, scope)
    by_host: dict[str, list[Document]] = {}
    for rule in spec.items("rules"):
        by_host.setdefault(_host(rule), []).extend(_rules(rule, scope))
    if (default := spec.get("defaultBackend")) and (ref := _backend(default, scope)):
        by_host.setdefault("", []).append({"backendRefs": [ref], "policies": {}})
    for number, (host, rules) in enumerate(by_host.items(), 1):
        named = [{"name": f"rule-{index}"} | rule for index, rule in enumerate(rules, 1)]
        body: Document = {"parentRefs": [{"name": gateway}]} | ({"hostnames": [host]} if host else {})
        add_routes(spec, name if number == 1 else f"{name}-{number}", body, named, scope)


def add_ingress_gateways(scope: Scope) -> None:
    """Add the Gateway of each class, with the listeners of all its Ingresses."""
    for name, gateway in scope.ingress_gateways.items():
        listeners = [{"name": "http", "port": 80, "protocol": "HTTP"}, *gateway.listeners]
        body: Document = {"gatewayClassName": "meshwright", "listeners": listeners}
        if scope.add(gateway.source, "Gateway", name, body, GATEWAY_API) == name:
            gateway.source.note(
                f"Ingress needs {{name: {name}, port: ...}} under gateways of the application file"
            )
            scope.application.add_gateway(name, listeners)


def _gateway_name(document: Value, spec: Value | None, scope: Scope) -> str:
    """The class, of the field or the old annotation, or the default one; other annotations are remarks."""
    metadata = document.get("metadata")
    annotations = metadata.mapping("annotations") if metadata else {}
    for key, value in annotations.items():
        if key not in (CLASS_ANNOTATION, _WRITTEN_BY_KUBECTL):
            value.problem("is not converted: what it says to a controller has to be written as policies")
    old = annotations.get(CLASS_ANNOTATION)
    given = spec.text("ingressClassName") if spec else ""
    return given or (old.string() if old else "") or scope.default_class or DEFAULT_GATEWAY


def _add_tls(entry: Value, gateway: IngressGateway, scope: Scope) -> None:
    """A listener for each host, all on port 443. The first certificate of a host serves it."""
    secret, hosts = entry.get("secretName"), [host.string() for host in entry.items("hosts")] or [""]
    if secret is None:
        entry.problem("has no secretName, so its hosts have no HTTPS: name a Certificate")
        return
    text = secret.string()
    if not scope.add_once(secret, "Certificate", text, {}):
        return
    secret.note(f"is the Certificate {text}: put {text}.crt and {text}.key into MESH_CERTIFICATES")
    tls = {"certificateRefs": [{"group": "meshwright.io", "kind": "Certificate", "name": text}]}
    for host in hosts:
        if any(listener.get("hostname", "") == host for listener in gateway.listeners):
            continue
        number = len(gateway.listeners) + 1
        listener: Document = {"name": "https" if number == 1 else f"https-{number}"}
        listener |= {"port": 443, "protocol": "HTTPS"} | ({"hostname": host} if host else {})
        gateway.listeners.append(listener | {"tls": tls})


def _host(rule: Value) -> str:
    host = rule.get("host")
    text = host.string() if host else ""
    if host and text.startswith("*."):
        host.note(f"matches names of several labels here: a.b{text[1:]}, too")
    return text


def _rules(rule: Value, scope: Scope) -> list[Document]:
    """The rules of a host; one without paths leaves every request to the default backend."""
    http = rule.get("http")
    result: list[Document] = []
    for path in http.items("paths") if http else ():
        match, backend = _match(path), path.get("backend")
        ref = _backend(backend, scope) if backend else None
        if problem := invalid(HTTPRouteMatch, match):
            path.problem(f"is not converted: {problem}")
            continue
        body: Document = {"matches": [match]} if match else {}
        result.append(body | ({"backendRefs": [ref]} if ref else {}) | {"policies": {}})
    return result


def _match(path: Value) -> Document:
    """The match of a path; empty for every path."""
    value, kind = path.get("path"), path.get("pathType")
    text, word = value.string() if value else "/", kind.string() if kind else ""
    if word == "Exact":
        return {"path": {"type": "Exact", "value": text}}
    if kind and word == "ImplementationSpecific" and text != "/":
        kind.note("is a prefix of whole segments here")
    elif kind and word not in ("Prefix", "ImplementationSpecific"):
        kind.problem(f"is {word!r}, which does not exist: the path is a prefix")
    prefix = text.rstrip("/")
    return {"path": {"type": "PathPrefix", "value": prefix}} if prefix else {}


def _backend(backend: Value, scope: Scope) -> Document | None:
    """A backendRef; None, and a remark, if no service is named: then requests get 500."""
    service = backend.get("service")
    name = service.text("name") if service else ""
    if not service or not name:
        if resource := backend.get("resource"):
            resource.problem("is not converted: requests go to services; its rule answers 500")
        else:
            backend.problem("names no service: its rule answers 500")
        return None
    ref: Document = {"name": name}
    if external := scope.externals.get(name):
        ref = {"group": "meshwright.io", "kind": "ExternalService", "name": external}
    number = _port_number(service, name, scope)
    return ref | ({"port": number} if number else {})


def _port_number(service: Value, name: str, scope: Scope) -> int | None:
    port = service.get("port")
    if port is None:
        return None
    label = port.get("name")
    if label is None:
        return port.integer("number")
    number = scope.ports.get((name, label.string()))
    if number is None:
        label.problem(f"is a port that no Service {name} here has: its first port gets the requests")
    return number
