"""Gateway API `Gateway`: the ports where requests enter the mesh."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from meshwright.control_plane.policies.base import Combine, ObjectName, Policy, Spec
from meshwright.control_plane.policies.field_types import Hostname, PortNumber


class RouteNamespaces(Spec):
    """Gateway API's RouteNamespaces. A mesh has no namespaces, so both values mean every route."""

    from_: Literal["All", "Same"] = Field(
        "Same", alias="from", description="All and Same are equivalent here."
    )


class RouteGroupKind(Spec):
    """A kind of route that a listener accepts."""

    group: Literal["gateway.networking.k8s.io"] = Field(
        "gateway.networking.k8s.io", description="The group of the route."
    )
    kind: Literal["HTTPRoute", "GRPCRoute"] = Field(description="The kind of the route.")


class AllowedRoutes(Spec):
    """Which routes may attach: accepted for Gateway API compatibility, and every route may."""

    namespaces: RouteNamespaces = Field(RouteNamespaces(), description="Accepted and ignored.")
    kinds: tuple[RouteGroupKind, ...] = Field((), max_length=8, description="Accepted and ignored.")


class Listener(Spec):
    """A port and host name on which the gateway listens."""

    name: ObjectName = Field(description="Unique within the Gateway; a route's sectionName refers to it.")
    hostname: Hostname | None = Field(
        None,
        description="Only requests for this host; `*.example.com` for all its subdomains. Empty: every host.",
    )
    port: PortNumber = Field(description="The port on which the gateway listens.")
    protocol: Literal["HTTP"] = Field(description="Always HTTP.")
    allowed_routes: AllowedRoutes = Field(AllowedRoutes(), description="Accepted and ignored.")


class GatewaySpec(Spec):
    """The listeners of a gateway."""

    gateway_class_name: str = Field(
        "meshwright",
        min_length=1,
        max_length=253,
        description="Any class: the gateway of the same name in the application file implements it.",
    )
    listeners: tuple[Listener, ...] = Field(
        min_length=1, max_length=64, description="Where requests enter; at least one."
    )

    @field_validator("listeners")
    @classmethod
    def _distinct(cls, listeners: tuple[Listener, ...]) -> tuple[Listener, ...]:
        names: set[str] = set()
        hosts: set[tuple[int, str | None]] = set()
        for listener in listeners:
            if listener.name in names:
                raise ValueError(f"listener {listener.name!r} occurs twice: give each its own name")
            host = (listener.port, listener.hostname)
            if host in hosts:
                hostname = listener.hostname or "every host"
                raise ValueError(f"two listeners for {hostname} on port {listener.port}: keep one")
            names.add(listener.name)
            hosts.add(host)
        return listeners


class Gateway(Policy):
    """Opens the mesh to requests from outside (Gateway API v1 `Gateway`).

    It needs a gateway of the same name in the application file: that is the Envoy that listens. HTTPRoutes
    and GRPCRoutes with a parentRef to the Gateway route its requests.
    """

    combine: ClassVar[Combine] = "resource"
    order: ClassVar[int] = 0

    api_version: Literal["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"] = Field(
        description="gateway.networking.k8s.io/v1, or v1beta1 with the same meaning."
    )
    kind: Literal["Gateway"] = Field(description="Always Gateway.")
    spec: GatewaySpec = Field(description="The listeners.")
