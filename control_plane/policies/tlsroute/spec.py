"""Gateway API `TLSRoute`: routes TLS connections through a gateway by the host that the client asks for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from meshwright.control_plane.policies.field_types import Hostname
from meshwright.control_plane.policies.httproute.backends import BackendObjectReference
from meshwright.control_plane.policies.httproute.parents import RoutePolicy, RouteSpec, check_route
from meshwright.control_plane.policies.tcproute.spec import TCPRouteRule


class TLSRouteSpec(RouteSpec):
    """Parents, host names and the single rule."""

    hostnames: tuple[Hostname, ...] = Field(
        (),
        max_length=16,
        description="Only connections for these hosts (SNI); `*.example.com` for all its subdomains. "
        "Omitted: every host of the listener.",
    )
    rules: tuple[TCPRouteRule, ...] = Field(
        min_length=1, max_length=1, description="One rule: connections have nothing else to match on."
    )

    @model_validator(mode="after")
    def _valid(self) -> Self:
        check_route(self.parent_refs, self.hostnames, (), 1)
        return self

    def backend_references(self) -> Iterator[tuple[str, BackendObjectReference]]:
        """Every reference to a backend with its path in the document."""
        for index, ref in enumerate(self.rules[0].backend_refs):
            yield f"spec.rules[0].backendRefs[{index}]", ref


class TLSRoute(RoutePolicy):
    """Routes TLS connections to a TCP service (Gateway API v1 `TLSRoute`).

    At a listener of protocol TLS with mode Passthrough the gateway reads the requested host name and passes
    the connection on as it is: TLS ends at the app, whose certificate the client sees. With mode Terminate
    TLS ends at the gateway. Between sidecars the bytes travel in mutual TLS, as all connections. When two
    routes have the same host at the same listener, the older one applies.
    """

    order: ClassVar[int] = 130

    api_version: Literal[
        "gateway.networking.k8s.io/v1",
        "gateway.networking.k8s.io/v1alpha3",
        "gateway.networking.k8s.io/v1alpha2",
    ] = Field(description="gateway.networking.k8s.io/v1, or v1alpha3 or v1alpha2 with the same meaning.")
    kind: Literal["TLSRoute"] = Field(description="Always TLSRoute.")
    spec: TLSRouteSpec = Field(description="Parents, host names and backends.")
