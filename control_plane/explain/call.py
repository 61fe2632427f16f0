"""The way of a request: through the first proxy, then those of the services that it leads to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.api.models.call_explanation import ExplainedHop, ExplainedRoute
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core import inbound, outbound
from meshwright.control_plane.core.route_match import RoutedRequest
from meshwright.control_plane.core.snapshot import NodeSnapshot
from meshwright.control_plane.explain.flow import Blame, ExplainedProxy, Sender
from meshwright.control_plane.explain.hop import Passed, through
from meshwright.control_plane.explain.listener import DownstreamConnection
from meshwright.control_plane.explain.upstream import connection_to
from meshwright.control_plane.policies.hooks import ListenerDirection

Nodes = Callable[[Identity], NodeSnapshot]
"""What the proxies of a service or a gateway are sent."""


@dataclass(frozen=True, slots=True)
class Start:
    """The proxy that a request meets first, and how: a caller's own, or a gateway's listener.

    `address` is that of the client; `claims` are those of its token, None without one.
    """

    proxy: Identity
    listener: str = outbound.LISTENER
    connection: DownstreamConnection = field(default_factory=DownstreamConnection)
    address: str = "127.0.0.1"
    claims: Mapping[str, Any] | None = None


def hops(nodes: Nodes, start: Start, request: RoutedRequest, blame: Blame) -> Iterator[ExplainedHop]:
    """What each proxy on the way does with the request."""
    node = nodes(start.proxy)
    direction: ListenerDirection = "ingress" if start.proxy.role == "gateway" else "outbound"
    sender = Sender(address=start.address, claims=start.claims)
    first = through(ExplainedProxy(node, direction, blame), start.listener, start.connection, sender, request)
    yield ExplainedHop(proxy=start.proxy.name, direction=direction, steps=first.steps, routes=first.routes)
    for (service, arrival), of_routes in _onward(node, first, start.address).items():
        passed = _inbound(nodes, start, service, arrival, blame)
        yield ExplainedHop(
            proxy=service,
            direction="inbound",
            of_routes=tuple(of_routes),
            steps=passed.steps,
            routes=passed.routes,
        )


@dataclass(frozen=True, slots=True)
class _Arrival:
    """How a request comes to a service."""

    connection: DownstreamConnection
    request: RoutedRequest


def _onward(node: NodeSnapshot, passed: Passed, address: str) -> dict[tuple[str, _Arrival], list[int]]:
    """The services of the mesh that routes lead to, with the numbers of the routes."""
    services: dict[tuple[str, _Arrival], list[int]] = {}
    for number, route in enumerate(passed.routes):
        name = cluster_names.parse_cluster_name(route.cluster)
        leads_outside = map(cluster_names.is_external_node, (name.service, name.subset))
        if name.service and not any(leads_outside):
            arrival = _Arrival(connection_to(node, route.cluster, address), _request(route))
            services.setdefault((name.service, arrival), []).append(number)
    return services


def _inbound(nodes: Nodes, start: Start, service: str, arrival: _Arrival, blame: Blame) -> Passed:
    node = nodes(Identity(start.proxy.trust_domain, "service", service))
    identity = start.proxy.uri if arrival.connection.tls else ""
    sender = Sender(identity, start.address, start.claims)
    proxy = ExplainedProxy(node, "inbound", blame)
    return through(proxy, inbound.LISTENER, arrival.connection, sender, arrival.request)


def _request(route: ExplainedRoute) -> RoutedRequest:
    return RoutedRequest(route.method, route.host, route.path, route.headers)
