"""Istio's Gateway as that of the Gateway API, with its certificates and redirects to HTTPS."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from meshwright.cli.convert.documents import GATEWAY_API, Document
from meshwright.cli.convert.istio.gateway_tls import listener_tls
from meshwright.cli.convert.istio.scope import Scope
from meshwright.cli.convert.reading import Value

_PROTOCOLS = {
    "HTTP": "HTTP", "HTTP2": "HTTP", "GRPC": "HTTP", "GRPC-WEB": "HTTP", "HTTPS": "HTTPS", "TLS": "TLS",
    "TCP": "TCP", "MONGO": "TCP", "MYSQL": "TCP", "REDIS": "TCP",
}  # fmt: skip
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,50}[a-z0-9])?")


@dataclass(slots=True)
class _Listeners:
    """The listeners of one Gateway, and which of them only redirect."""

    listeners: list[Document] = field(default_factory=list)
    redirects: list[str] = field(default_factory=list)

    def add(self, base: str, listener: Document, *, redirects: bool) -> None:
        taken = {item["name"] for item in self.listeners}
        name, count = base, 1
        while name in taken:
            count += 1
            name = f"{base}-{count}"
        self.listeners.append({"name": name} | listener)
        if redirects:
            self.redirects.append(name)


def convert_gateway(document: Value, name: str, scope: Scope) -> None:
    """Add the Gateway, the Certificates that it names, and a route for each redirect to HTTPS."""
    spec = document.get("spec")
    entries = _Listeners()
    for server in spec.items("servers") if spec else ():
        _add_server(server, name, entries, scope)
    if spec and (selector := spec.get("selector")):
        selector.skip()
    body: Document = {"gatewayClassName": "meshwright", "listeners": entries.listeners}
    if not entries.listeners:
        document.problem("Gateway has no server that is converted, so there is none", below=False)
    if not entries.listeners or not scope.add(document, "Gateway", name, body, GATEWAY_API):
        scope.open_listeners[name] = ()  # without a Gateway the gateway would answer every host in plain text
        return
    document.note(f"Gateway needs {{name: {name}, port: ...}} under gateways of the application file")
    scope.application.add_gateway(name, entries.listeners)
    if not entries.redirects:
        return
    names = [item["name"] for item in entries.listeners]
    scope.open_listeners[name] = tuple(each for each in names if each not in entries.redirects)
    redirect = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}
    parents = [{"name": name, "sectionName": listener} for listener in entries.redirects]
    route = {"parentRefs": parents, "rules": [{"filters": [redirect]}]}
    scope.add(document, "HTTPRoute", f"{name}-to-https", route, GATEWAY_API)


def _add_server(server: Value, gateway: str, entries: _Listeners, scope: Scope) -> None:
    port = server.get("port")
    number, word = (port.integer("number"), port.get("protocol")) if port else (None, None)
    label = port.text("name") if port else ""
    protocol = _PROTOCOLS.get(word.string().upper() if word else "", "")
    base = next((text for text in (server.text("name"), label) if _NAME.fullmatch(text)), "")
    base = base or f"{(protocol or 'port').lower()}-{number}"
    settings = server.get("tls")
    tls = listener_tls(server, protocol, f"{gateway}-{base}", scope)
    hosts = [_hostname(host) for host in server.items("hosts")] or [""]
    if not number or not protocol:
        (word or port or server).problem(
            "has no port and protocol that are known: it is left out", below=False
        )
    if tls is None or not number or not protocol:
        return
    protocol, body = tls
    redirects = bool(settings and protocol == "HTTP" and settings.flag("httpsRedirect"))
    for host in dict.fromkeys([""] if "" in hosts or protocol == "TCP" else hosts):
        listener: Document = {"port": number, "protocol": protocol} | ({"hostname": host} if host else {})
        entries.add(base, listener | ({"tls": body} if body else {}), redirects=redirects)


def _hostname(host: Value) -> str:
    """The name without its namespace; empty for every host."""
    text = host.string().rpartition("/")[2]
    return "" if text == "*" else text
