"""TCPRoutes and TLSRoutes without effect: older ones have everything to which they attach. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from meshwright.control_plane.core.listeners import attach
from meshwright.control_plane.core.tcp_routes import ConnectionRoute, selects_port
from meshwright.control_plane.core.world import World
from meshwright.control_plane.policies.gateway.spec import Gateway
from meshwright.control_plane.policies.tcproute.spec import TCPRoute


def tcp_conflicts(world: World) -> Mapping[str, str]:
    """`Kind/name` of each route that applies nowhere, with the older one that applies instead."""
    gateways = {
        document.policy.name: document.policy
        for document in world.documents
        if isinstance(document.policy, Gateway)
    }
    routes = [
        (document.created, document.policy.name, document.policy)
        for document in world.documents
        if isinstance(document.policy, ConnectionRoute)
    ]
    owners: dict[tuple[str, ...], str] = {}
    losers: dict[str, str] = {}
    for _, _, route in sorted(routes, key=lambda entry: entry[:2]):
        places = list(_places(world, gateways, route))
        taken = [owners[place] for place in places if place in owners]
        if places and len(taken) == len(places):
            losers[route.ref] = taken[0]
        owners.update((place, route.ref) for place in places if place not in owners)
    return losers


def _places(
    world: World, gateways: Mapping[str, Gateway], route: ConnectionRoute
) -> Iterator[tuple[str, ...]]:
    """The ports of services, and the hosts of listeners, to which a route attaches."""
    for ref in route.spec.parent_refs:
        if ref.kind == "Service" and isinstance(route, TCPRoute):
            service = world.services.get(ref.name)
            for port in service.ports if service else ():
                if port.protocol == "tcp" and selects_port(ref, port, (port.number,)):
                    yield ref.kind, ref.name, port.name
        elif ref.name in gateways:
            for listener, hosts in attach(route, ref, gateways[ref.name].spec.listeners).listeners:
                yield from ((ref.kind, ref.name, listener.name, host) for host in hosts)
