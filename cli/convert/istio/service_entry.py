"""ServiceEntry as ExternalService."""

from __future__ import annotations

from meshwright.cli.convert.documents import Document
from meshwright.cli.convert.istio.scope import Scope
from meshwright.cli.convert.reading import Value

_PROTOCOLS = {
    "HTTP": "http", "HTTP2": "http", "GRPC": "grpc", "GRPC-WEB": "http", "HTTPS": "https", "TLS": "tls",
    "TCP": "tcp", "MONGO": "tcp", "MYSQL": "tcp", "REDIS": "tcp",
}  # fmt: skip
_RESOLUTIONS = {"STATIC": "static", "DNS": "dns", "DNS_ROUND_ROBIN": "dns-logical"}
_PER_CALL = ("NONE", "DYNAMIC_DNS")


def convert_service_entry(document: Value, name: str, scope: Scope) -> None:
    """Add the ExternalService that one ServiceEntry declares."""
    spec = document.get("spec")
    location = spec.get("location") if spec else None
    if spec is None or (location and not location.string().endswith("_EXTERNAL")):
        (location or document).problem(
            "is not converted: what is in the mesh joins by `mesh run` or `mesh agent`"
        )
        if spec:
            spec.skip()
        return
    hosts = [host.string() for host in spec.items("hosts")]
    endpoints = _with_address(spec)
    ports, endpoint_ports = _ports(spec, endpoints)
    if not ports:
        spec.problem("has no port that is converted, so there is no ExternalService", below=False)
        return
    body: Document = {"hosts": hosts, "ports": ports}
    targets: list[Document] = [
        {"address": entry.text("address")} | ({"port": port} if port else {})
        for entry, port in zip(endpoints, endpoint_ports, strict=True)
    ]
    resolution = _resolution(spec)
    if addresses := spec.get("addresses"):
        body["addresses"] = [item.string() for item in addresses.entries()]
        if not targets and resolution and len(hosts) == 1:
            # The addresses stand for the host, and DNS says where its endpoints are.
            targets = [{"address": hosts[0]}]
        elif not targets and resolution:
            addresses.note("are called themselves here, not the addresses that DNS has for the hosts")
    if targets:
        body["endpoints"] = targets
    if resolution and (targets or len(hosts) == 1):
        body["resolution"] = resolution
    made = scope.add(document, "ExternalService", name, body)
    if made:
        scope.externals.update((host, made) for host in hosts)


def _with_address(spec: Value) -> list[Value]:
    """The endpoints that say where they are."""
    endpoints = []
    for entry in spec.items("endpoints"):
        if entry.text("address"):
            endpoints.append(entry)
        else:
            entry.problem("has no address: it is left out")
            entry.skip()
    return endpoints


def _resolution(spec: Value) -> str:
    """How hosts are resolved; empty: as they are called."""
    value = spec.get("resolution")
    word = value.string() if value else _PER_CALL[0]
    if value and word == "NONE":
        value.note("asks no DNS in Istio; here hosts are resolved as they are called")
    elif value and word not in (*_RESOLUTIONS, *_PER_CALL):
        value.problem(f"is {word!r}, which does not exist here: hosts are resolved as they are called")
    return _RESOLUTIONS.get(word, "")


def _ports(spec: Value, endpoints: list[Value]) -> tuple[list[Document], list[int | None]]:
    """The ports, and a port for each endpoint where they differ."""
    entries = [entry for entry in spec.items("ports") if _protocol(entry) and entry.integer("number")]
    by_endpoint = [entry.mapping("ports") for entry in endpoints]
    ports: list[Document] = []
    endpoint_ports: list[int | None] = [None] * len(endpoints)
    for entry in entries:
        number, target, label = entry.integer("number"), entry.integer("targetPort"), entry.text("name")
        port: Document = {"port": number, "protocol": _protocol(entry)}
        named = [_number(mapped.get(label)) or target or number for mapped in by_endpoint]
        if len(set(named)) > 1 and len(entries) == 1:
            endpoint_ports = list(named)
        elif len(set(named)) > 1:
            entry.problem("is not converted: its endpoints have different ports: write an entry for it alone")
            continue
        elif (outside := named[0] if named else target) not in (None, number):
            port["targetPort"] = outside
        ports.append(port)
    return ports, endpoint_ports


def _protocol(port: Value) -> str:
    """What callers speak; empty, and a remark, if the mesh does not."""
    value = port.get("protocol")
    word = value.string().upper() if value else "TCP"
    if word not in _PROTOCOLS:
        (value or port).problem(f"is {word!r}, which is not spoken here: its port is left out")
        port.skip()
    elif value and word in ("HTTP2", "GRPC-WEB"):
        value.note("is called as http; grpc is HTTP/2 throughout")
    elif value and word in ("MONGO", "MYSQL", "REDIS"):
        value.note("is called as tcp: its statistics are those of connections")
    return _PROTOCOLS.get(word, "")


def _number(value: Value | None) -> int | None:
    """A port of an endpoint."""
    if value is None:
        return None
    number = value.node.value
    if isinstance(number, int) and not isinstance(number, bool) and 0 < number < 65536:
        return number
    value.problem("is no port: it is not converted")
    return None
