"""Gateway API `Gateway`: the ports where requests and connections enter the mesh."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from meshwright.control_plane.policies.base import Combine, ObjectName, Policy, Spec
from meshwright.control_plane.policies.field_types import Hostname, PortNumber
from meshwright.control_plane.policies.gateway.allowed_routes import AllowedRoutes
from meshwright.control_plane.policies.gateway.edge import EdgeSettings
from meshwright.control_plane.policies.gateway.tls import FrontendTLSValidation, GatewayTLS, ListenerTLS
from meshwright.control_plane.policies.own_namespace import drop_own_namespace

KNOWN_PROTOCOLS = ("HTTP", "HTTPS", "TLS", "TCP", "UDP")
SERVED_PROTOCOLS = KNOWN_PROTOCOLS[:4]
"""A listener of any other protocol is accepted, and its status says that nothing listens."""

TLS_PROTOCOLS = ("HTTPS", "TLS")
"""Their listeners share a port: the client names a host before anything else (SNI)."""

_WITHOUT_HOSTNAME = ("TCP", "UDP")
_WITHOUT_TLS = ("HTTP", *_WITHOUT_HOSTNAME)


def _known_spelling(protocol: str) -> str:
    if protocol not in KNOWN_PROTOCOLS and protocol.upper() in KNOWN_PROTOCOLS:
        raise ValueError(f"{protocol!r} is not a protocol: did you mean {protocol.upper()}?")
    return protocol


Protocol = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=255, pattern=r"^([-a-z0-9.]+/)?[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?$"
    ),
    AfterValidator(_known_spelling),
]


class Listener(Spec):
    """A port, and for HTTP a host name, on which the gateway listens."""

    name: ObjectName = Field(description="Unique within the Gateway; a route's sectionName refers to it.")
    hostname: Hostname | Literal[""] = Field(
        "",
        description="Only requests for this host; `*.example.com` for all its subdomains. Empty: every host "
        "that no other listener of the port names.",
    )
    port: PortNumber = Field(
        description="The port on which the gateway listens. The listener called http listens where the "
        "application file says; this is then the port that clients use."
    )
    protocol: Protocol = Field(description="HTTP, HTTPS, TLS or TCP. Nothing listens for UDP.")
    tls: ListenerTLS | None = Field(None, description="For HTTPS and TLS: certificates and versions.")
    allowed_routes: AllowedRoutes = Field(
        AllowedRoutes(), description="The routes that may attach, by kind and namespace."
    )

    @model_validator(mode="after")
    def _fits_protocol(self) -> Self:
        article = "an" if self.protocol.startswith("HTTP") else "a"
        if self.hostname and self.protocol in _WITHOUT_HOSTNAME:
            raise ValueError(f"{article} {self.protocol} listener has no hostname: leave it out")
        if self.tls is not None and self.protocol in _WITHOUT_TLS:
            raise ValueError(f"{article} {self.protocol} listener has no tls: leave it out")
        if self.protocol == "HTTPS" and self.passes_through:
            raise ValueError("the tls mode of an HTTPS listener is Terminate: use it, or protocol TLS")
        if self.tls and self.passes_through and (self.tls.certificate_refs or self.tls.frontend_validation):
            raise ValueError(
                "TLS that passes through needs no certificates here: leave them out, or use Terminate"
            )
        return self

    @property
    def passes_through(self) -> bool:
        """Whether TLS ends at the app."""
        return self.tls is not None and self.tls.mode == "Passthrough"

    @property
    def speaks_tls(self) -> bool:
        """Whether connections begin with TLS."""
        return self.protocol in TLS_PROTOCOLS


class GatewayAddress(Spec):
    """An address that the gateway asks for."""

    type: str = Field("IPAddress", max_length=253, description="The type of the address.")
    value: str = Field("", max_length=253, description="Must be empty.")

    @model_validator(mode="after")
    def _has_no_value(self) -> Self:
        if self.value:
            raise ValueError(
                f"{self.value!r} cannot be assigned: a gateway listens at the address of its node (--bind): "
                "leave it out"
            )
        return self


class GatewayInfrastructure(Spec):
    """Metadata for what an implementation creates; a mesh creates nothing."""

    labels: dict[str, str] = Field(default_factory=dict, description="Accepted and ignored.")
    annotations: dict[str, str] = Field(default_factory=dict, description="Accepted and ignored.")
    parameters_ref: dict[str, Any] | None = Field(None, description="Must be absent.")

    @field_validator("parameters_ref")
    @classmethod
    def _no_parameters(cls, value: dict[str, Any] | None) -> None:
        if value is not None:
            raise ValueError("a mesh has no parameters for a gateway: leave parametersRef out")


class GatewaySpec(EdgeSettings):
    """The listeners of a gateway, and what it believes and accepts of clients."""

    gateway_class_name: str = Field(
        "meshwright",
        min_length=1,
        max_length=253,
        description="Any class: the gateway of the same name in the application file implements it.",
    )
    listeners: tuple[Listener, ...] = Field(
        min_length=1, max_length=64, description="Where requests enter; at least one."
    )
    addresses: tuple[GatewayAddress, ...] = Field(
        (), max_length=16, description="Addresses without a value are accepted and ignored."
    )
    infrastructure: GatewayInfrastructure | None = Field(None, description="Accepted and ignored.")
    allowed_listeners: dict[str, Any] | None = Field(
        None, description="Accepted and ignored: a mesh has no ListenerSets."
    )
    tls: GatewayTLS = Field(GatewayTLS(), description="Client certificates.")

    def client_validation(self, listener: Listener) -> FrontendTLSValidation | None:
        """Which client certificates a listener accepts; None: it asks for none.

        `spec.tls.frontend` is for HTTPS (Gateway API v1 `FrontendTLSConfig`).
        """
        if listener.tls and listener.tls.frontend_validation:
            return listener.tls.frontend_validation
        return self.tls.frontend.at(listener.port) if listener.protocol == "HTTPS" else None

    @field_validator("listeners")
    @classmethod
    def _distinct(cls, listeners: tuple[Listener, ...]) -> tuple[Listener, ...]:
        names: set[str] = set()
        hosts: set[tuple[int, str, str]] = set()
        for listener in listeners:
            if listener.name in names:
                raise ValueError(f"listener {listener.name!r} occurs twice: give each its own name")
            host = (listener.port, listener.protocol, listener.hostname)
            if host in hosts:
                hostname = listener.hostname or "every host"
                raise ValueError(
                    f"two {listener.protocol} listeners for {hostname} on port {listener.port}: keep one"
                )
            names.add(listener.name)
            hosts.add(host)
        return listeners


class Gateway(Policy):
    """Opens the mesh to requests and connections from outside (Gateway API v1 `Gateway`).

    It needs a gateway of the same name in the application file: that is the Envoy that listens. HTTPRoutes,
    GRPCRoutes, TLSRoutes and TCPRoutes with a parentRef to the Gateway route what arrives. A request belongs
    to the listener with the most specific hostname, and only routes attached to that one match it.
    """

    combine: ClassVar[Combine] = "resource"
    order: ClassVar[int] = 0

    api_version: Literal["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"] = Field(
        description="gateway.networking.k8s.io/v1, or v1beta1 with the same meaning."
    )
    kind: Literal["Gateway"] = Field(description="Always Gateway.")
    spec: GatewaySpec = Field(description="The listeners.")

    @model_validator(mode="before")
    @classmethod
    def _drop_own_namespace(cls, document: Any) -> Any:
        return drop_own_namespace(document) if isinstance(document, Mapping) else document
