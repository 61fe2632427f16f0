"""ExternalService: hosts and addresses outside the mesh that its services call by name, policy and count."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from meshwright.control_plane.api.hosts import is_ip, valid_host
from meshwright.control_plane.api.models.base import Name
from meshwright.control_plane.policies.base import Combine, Metadata, Policy, Spec
from meshwright.control_plane.policies.externalservice.tls import ExternalTLS
from meshwright.control_plane.policies.field_types import Hostname, PortNumber, check_distinct

HTTP_PORT, HTTPS_PORT = 80, 443

ExternalProtocol = Literal["http", "grpc", "https", "tls", "tcp"]
Resolution = Literal["dns", "dns-logical", "static"]


def _network(text: str) -> str:
    """An address or network in canonical form; a single address has no prefix length."""
    network = ip_network(text)
    if network.version != ip_address("0.0.0.0").version and network.num_addresses != 1:
        raise ValueError(f"{text} is a network of IPv6, which callers write in many forms: name its hosts")
    return str(network.network_address if network.num_addresses == 1 else network)


def _resolver(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not is_ip(host.strip("[]")) or not port.isdigit() or not 1 <= int(port) <= 65535:
        raise ValueError(f"{text!r} is not an IP address with a port: write it like 10.0.0.2:53")
    return text


Network = Annotated[str, StringConstraints(max_length=64), AfterValidator(_network)]
ResolverAddress = Annotated[str, StringConstraints(max_length=64), AfterValidator(_resolver)]
EndpointHost = Annotated[str, StringConstraints(max_length=253), AfterValidator(valid_host)]


class ExternalPort(Spec):
    """A port as the mesh's services call it."""

    port: PortNumber = Field(description="The number that callers use.")
    protocol: ExternalProtocol = Field(
        "http",
        description="What callers speak: http or grpc, whose requests the mesh sees; https or tls, which the "
        "mesh passes on unopened (CONNECT); tcp.",
    )
    target_port: PortNumber | None = Field(
        None, description="The port outside. Omitted: `port`, or 443 where `tls` is set and `port` is 80."
    )

    @property
    def is_http(self) -> bool:
        """Whether the mesh sees the requests."""
        return self.protocol in ("http", "grpc")


class ExternalEndpoint(Spec):
    """Where connections go in place of the host's own addresses."""

    address: EndpointHost = Field(description="An IP address or a host name.")
    port: PortNumber | None = Field(None, description="Its port. Omitted: the port's targetPort.")


class EgressGateway(Spec):
    """The gateway that calls go through."""

    group: Literal["", "gateway.networking.k8s.io"] = Field(
        "gateway.networking.k8s.io", description="The Gateway API's group."
    )
    kind: Literal["Gateway"] = Field("Gateway", description="Always Gateway.")
    name: Name = Field(description="The gateway, with a Gateway document or without.")


class ExternalServiceSpec(Spec):
    """Hosts, ports, how to reach them, and who may."""

    hosts: tuple[Hostname, ...] = Field(
        (), max_length=64, description="Names that callers use: exact, or all subdomains (*.example.com)."
    )
    addresses: tuple[Network, ...] = Field(
        (),
        max_length=64,
        description="IP addresses, and networks of IPv4, that callers use in place of a name.",
    )
    ports: tuple[ExternalPort, ...] = Field(
        (ExternalPort(port=HTTP_PORT), ExternalPort(port=HTTPS_PORT, protocol="https")),
        min_length=1,
        max_length=32,
        description="The ports. Omitted: 80 (http) and 443 (https).",
    )
    resolution: Resolution | None = Field(
        None,
        description="How a host becomes addresses: dns, all that DNS returns; dns-logical, one of them, for "
        "hosts with ever changing ones; static, the endpoints. Omitted: static where every endpoint is an IP "
        "address, dns otherwise. Several hosts without endpoints are resolved as they are called.",
    )
    endpoints: tuple[ExternalEndpoint, ...] = Field(
        (), max_length=64, description="Where connections go. Omitted: the host itself."
    )
    resolvers: tuple[ResolverAddress, ...] = Field(
        (),
        max_length=8,
        description="DNS servers to ask, such as 127.0.0.1:8600. Omitted: those of the proxy's host.",
    )
    tls: ExternalTLS | None = Field(
        None, description="Proxies open TLS to the http, grpc and tcp ports. Omitted: connections are plain."
    )
    via: EgressGateway | None = Field(
        None,
        description="Calls go to this gateway by mutual TLS, and it opens the connections outside: DNS, TLS "
        "and client certificates are its own. While it has no instance, calls fail. Omitted: each caller's "
        "sidecar opens them.",
    )
    from_: tuple[Name, ...] = Field(
        (),
        alias="from",
        max_length=64,
        description="Only for these services and gateways. Empty: for all.",
    )

    @field_validator("hosts")
    @classmethod
    def _outside(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        check_distinct(hosts, "host")
        for host in hosts:
            name = host.removeprefix("*.")
            if name == "mesh" or name.endswith(".mesh") or ("." not in host):
                raise ValueError(f"{host} may be a service of the mesh: outside names contain a dot")
            if is_ip(host):
                raise ValueError(f"{host} is an address: move it to addresses")
        return hosts

    @model_validator(mode="after")
    def _valid(self) -> Self:
        if not self.hosts and not self.addresses:
            raise ValueError("neither hosts nor addresses is set, so nothing is declared: set one of them")
        check_distinct(self.addresses, "address")
        check_distinct((str(entry.port) for entry in self.ports), "port")
        self._check_endpoints()
        self._check_tls()
        if not self.is_fixed:
            self._check_resolved_per_call()
        return self

    def _check_endpoints(self) -> None:
        check_distinct((f"{item.address}:{item.port or ''}" for item in self.endpoints), "endpoint")
        if self.resolution == "static" and not all(map(is_ip, self.targets)):
            raise ValueError("static needs endpoints that are IP addresses: add them, or use dns")
        if self.resolution == "dns-logical" and len(self.endpoints) > 1:
            raise ValueError("dns-logical uses one name: keep one endpoint, or use dns")
        if len(self.ports) > 1 and any(item.port for item in self.endpoints):
            raise ValueError("an endpoint's port would serve every port: use targetPort of each port")

    def _check_tls(self) -> None:
        if self.tls is None:
            return
        if all(entry.protocol in ("https", "tls") for entry in self.ports):
            raise ValueError("tls has no effect: callers of https and tls ports open TLS themselves")
        opaque = any(entry.protocol == "tcp" for entry in self.ports)
        if opaque and not self.server_name and self.tls.mode == "Verify":
            raise ValueError("a tcp port tells no name to verify: set tls.sni")

    def _check_resolved_per_call(self) -> None:
        """Hosts that are resolved as they are called keep what callers write."""
        advice = "needs endpoints, or one exact host: several hosts are resolved as they are called"
        for field, value in (("resolution", self.resolution), ("resolvers", self.resolvers)):
            if value and value != "dns":
                raise ValueError(f"{field} {advice}")
        if self.via:
            raise ValueError(f"via {advice}")
        if any(entry.target_port not in (None, entry.port) for entry in self.ports):
            raise ValueError(f"targetPort {advice}")

    # --- what follows from the fields ---------------------------------------------------------------

    @property
    def targets(self) -> tuple[str, ...]:
        """Host names or addresses that connections go to."""
        if self.endpoints:
            return tuple(item.address for item in self.endpoints)
        return tuple(host for host in (*self.hosts, *self.addresses) if "*" not in host and "/" not in host)

    @property
    def is_fixed(self) -> bool:
        """Whether every call goes to the same targets; otherwise each host is resolved as it is called."""
        return bool(self.endpoints) or (len(self.hosts) + len(self.addresses) == len(self.targets) == 1)

    @property
    def effective_resolution(self) -> Resolution:
        """The resolution in force."""
        return self.resolution or ("static" if all(map(is_ip, self.targets)) else "dns")

    @property
    def server_name(self) -> str:
        """The one name of TLS; empty if it is that of each request."""
        if self.tls is not None and self.tls.sni:
            return self.tls.sni
        exact = [host for host in self.hosts if not host.startswith("*.")]
        return exact[0] if len(exact) == len(self.hosts) == 1 and not self.addresses else ""

    @property
    def host_name(self) -> str:
        """What the host is called towards itself, where a request was for another; empty without a name."""
        exact = (host for host in (*self.hosts, *self.targets) if "*" not in host and not is_ip(host))
        return next(exact, "")

    def target_port(self, port: ExternalPort) -> int:
        """The port outside."""
        return port.target_port or (HTTPS_PORT if self.tls and port.port == HTTP_PORT else port.port)


class ExternalServiceMetadata(Metadata):
    """Metadata of an ExternalService, whose name is a part of the name of its clusters in metrics."""

    name: Name = Field(description="The document's name, unique within its kind.")


class ExternalService(Policy):
    """Hosts outside the mesh: the topology shows them by this name, and policies may target them.

    Calls to them leave from the caller's sidecar, or from the gateway `via`, with TLS if it is asked for. Of
    two documents with the same host and port the older one applies. With `outbound: deny` a service reaches
    nothing outside but what such documents declare. Policies for the Mesh do not include outside hosts.
    """

    combine: ClassVar[Combine] = "resource"
    order: ClassVar[int] = 60

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["ExternalService"] = Field(description="Always ExternalService.")
    metadata: ExternalServiceMetadata = Field(description="Name, labels and annotations.")
    spec: ExternalServiceSpec = Field(description="Hosts, ports and TLS.")
