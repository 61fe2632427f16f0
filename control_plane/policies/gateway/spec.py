"""Gateway API `Gateway`: the ports where requests enter the mesh."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from meshwright.control_plane.api.models.base import Name
from meshwright.control_plane.policies.base import Combine, Policy, Spec
from meshwright.control_plane.policies.field_types import Hostname, PortNumber


class RouteNamespaces(Spec):
    """Gateway API's RouteNamespaces. A mesh has no namespaces, so both words mean every route."""

    from_: Literal["All", "Same"] = Field("Same", alias="from", description="All and Same are the same here.")


class RouteGroupKind(Spec):
    """A kind of route that a listener takes."""

    group: Literal["gateway.networking.k8s.io"] = Field(
        "gateway.networking.k8s.io", description="The group of the route."
    )
    kind: Literal["HTTPRoute", "GRPCRoute"] = Field(description="The kind of the route.")


class AllowedRoutes(Spec):
    """Which routes may attach; accepted as Gateway API writes it, and all of them may."""

    namespaces: RouteNamespaces = Field(RouteNamespaces(), description="Nothing depends on it.")
    kinds: tuple[RouteGroupKind, ...] = Field((), max_length=8, description="Nothing depends on it.")


class Listener(Spec):
    """A port and host name on which the gateway listens."""

    name: Name = Field(description="Unique within the Gateway; a route's sectionName refers to it.")
    hostname: Hostname | None = Field(
        None, description="Only requests for this host; `*.example.com` for all below it. Empty: every host."
    )
    port: PortNumber = Field(description="Where the gateway listens.")
    protocol: Literal["HTTP"] = Field(description="Only HTTP.")
    allowed_routes: AllowedRoutes = Field(AllowedRoutes(), description="Accepted; nothing depends on it.")


class GatewaySpec(Spec):
    """What a gateway listens on."""

    gateway_class_name: Literal["meshwright"] = Field("meshwright", description="Always meshwright.")
    listeners: tuple[Listener, ...] = Field(
        min_length=1, max_length=64, description="Where requests come in, at least one."
    )

    @field_validator("listeners")
    @classmethod
    def _distinct(cls, listeners: tuple[Listener, ...]) -> tuple[Listener, ...]:
        names: set[str] = set()
        places: set[tuple[int, str | None]] = set()
        for listener in listeners:
            if listener.name in names:
                raise ValueError(f"listener {listener.name!r} occurs twice: give each its own name")
            place = (listener.port, listener.hostname)
            if place in places:
                host = listener.hostname or "every host"
                raise ValueError(f"two listeners for {host} on port {listener.port}: keep one")
            names.add(listener.name)
            places.add(place)
        return listeners


class Gateway(Policy):
    """Opens the mesh to requests from outside (Gateway API v1 `Gateway`).

    It needs a gateway of the same name in the application file, which is the Envoy that listens. HTTPRoutes
    with a parentRef to it say where its requests go.
    """

    combine: ClassVar[Combine] = "resource"
    order: ClassVar[int] = 0

    api_version: Literal["gateway.networking.k8s.io/v1"] = Field(
        description="Always gateway.networking.k8s.io/v1."
    )
    kind: Literal["Gateway"] = Field(description="Always Gateway.")
    spec: GatewaySpec = Field(description="What it listens on.")
