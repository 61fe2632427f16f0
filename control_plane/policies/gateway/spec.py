"""Gateway API `Gateway`: the ports where requests and connections enter the mesh."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from meshwright.control_plane.policies.base import Combine, ObjectName, Policy, Spec
from meshwright.control_plane.policies.field_types import Hostname, PortNumber
from meshwright.control_plane.policies.gateway.allowed_routes import AllowedRoutes
from meshwright.control_plane.policies.gateway.edge import EdgeSettings

KNOWN_PROTOCOLS = ("HTTP", "TCP", "HTTPS", "TLS", "UDP")
SERVED_PROTOCOLS = KNOWN_PROTOCOLS[:2]
"""A listener of any other protocol is accepted, and its status says that nothing listens."""

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
    protocol: Protocol = Field(description="HTTP or TCP. Nothing listens for HTTPS, TLS and UDP yet.")
    tls: dict[str, Any] | None = Field(None, description="For HTTPS and TLS: accepted and ignored.")
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
        if self.protocol == "HTTPS" and (self.tls or {}).get("mode", "Terminate") != "Terminate":
            raise ValueError("the tls mode of an HTTPS listener is Terminate: use it, or protocol TLS")
        return self


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
    tls: dict[str, Any] | None = Field(None, description="Must be absent: gateways have no TLS yet.")

    @field_validator("tls")
    @classmethod
    def _no_tls(cls, value: dict[str, Any] | None) -> None:
        if value is not None:
            raise ValueError("gateways have no TLS yet: leave tls out, and terminate TLS in front of them")

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
    GRPCRoutes and TCPRoutes with a parentRef to the Gateway route what arrives. A request belongs to the
    listener with the most specific hostname, and only routes attached to that one match it.
    """

    combine: ClassVar[Combine] = "resource"
    order: ClassVar[int] = 0

    api_version: Literal["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"] = Field(
        description="gateway.networking.k8s.io/v1, or v1beta1 with the same meaning."
    )
    kind: Literal["Gateway"] = Field(description="Always Gateway.")
    spec: GatewaySpec = Field(description="The listeners.")
