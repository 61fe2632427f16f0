"""TCPRoutes and TLSRoutes → the clusters of tcp ports, as callers in the mesh and gateways see them.

Of several routes with the same parent the oldest applies, then the first by name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.api.models.instances import Port
from meshwright.control_plane.core.backends import BackendResolver, Services
from meshwright.control_plane.core.listeners import attach
from meshwright.control_plane.core.ports import cluster_name
from meshwright.control_plane.core.views import UpstreamView
from meshwright.control_plane.core.world import PolicyDocument, Service
from meshwright.control_plane.policies.gateway.spec import Listener
from meshwright.control_plane.policies.httproute.parents import ParentReference
from meshwright.control_plane.policies.tcproute.spec import TCPRoute
from meshwright.control_plane.policies.tlsroute.spec import TLSRoute

ConnectionRoute = TCPRoute | TLSRoute
Entry = tuple[PolicyDocument, ConnectionRoute, ParentReference]


class TcpRouteResolver:
    """The routes of connections of one set of documents, by parent."""

    def __init__(self, backends: BackendResolver) -> None:
        self._backends = backends
        self._routes: dict[tuple[str, str], list[Entry]] = defaultdict(list)

    def add(self, document: PolicyDocument, route: ConnectionRoute) -> None:
        """Index a route under each of its parents."""
        for parent in route.spec.parent_refs:
            self._routes[parent.kind, parent.name].append((document, route, parent))

    def gateways(self) -> frozenset[str]:
        """Every gateway to which a route is attached."""
        return frozenset(name for kind, name in self._routes if kind == "Gateway")

    def upstreams(self, services: Services) -> Mapping[str, UpstreamView]:
        """Every tcp port that a caller may declare: the first one of `db` as `db`, each as `db:name`."""
        result: dict[str, UpstreamView] = {}
        for service in services.values():
            ports = [port for port in service.ports if port.protocol == "tcp"]
            views = [(port, self.upstream(services, service, port)) for port in ports]
            if views:
                result[service.name] = views[0][1]
            result.update((f"{service.name}:{port.name}", view) for port, view in views)
        return result

    def upstream(self, services: Services, service: Service, port: Port) -> UpstreamView:
        """Where callers in the mesh reach a tcp port."""
        attached = [
            entry
            for entry in self._routes.get(("Service", service.name), ())
            if isinstance(entry[1], TCPRoute) and selects_port(entry[2], port, (port.number,))
        ]
        return self._view(services, attached) or UpstreamView(((cluster_name(service, port), 1),))

    def listener(
        self, services: Services, gateway: str, listener: Listener, listeners: tuple[Listener, ...]
    ) -> UpstreamView:
        """What a gateway's listener for TCP leads to; nothing without a route."""
        return dict(self.upstreams_by_host(services, gateway, listener, listeners))[""]

    def upstreams_by_host(
        self, services: Services, gateway: str, listener: Listener, listeners: tuple[Listener, ...]
    ) -> tuple[tuple[str, UpstreamView], ...]:
        """Where the connections of a gateway's listener go, by host name.

        The listener's own host name is one of them: what no route has leads to nothing.
        """
        attached: dict[str, list[Entry]] = {listener.hostname: []}
        for document, route, parent in self._routes.get(("Gateway", gateway), ()):
            for item, hosts in attach(route, parent, listeners).listeners:
                for host in hosts if item is listener else ():
                    attached.setdefault(host, []).append((document, route, parent))
        return tuple(
            (host, self._view(services, entries, gateway) or UpstreamView(()))
            for host, entries in sorted(attached.items())
        )

    def _view(self, services: Services, attached: Iterable[Entry], gateway: str = "") -> UpstreamView | None:
        ordered = sorted(attached, key=lambda entry: (entry[0].created, entry[1].name))
        if not ordered:
            return None
        oldest = ordered[0][1]
        backends = tuple(
            (cluster_names.beyond(gateway, self._backends.tcp_cluster(services, ref).cluster), ref.weight)
            for ref in oldest.spec.rules[0].backend_refs
        )
        return UpstreamView(backends, (oldest.ref,))


def selects_port(parent: ParentReference, port: Port, numbers: Iterable[int]) -> bool:
    """Whether a parentRef to a Service means this port, which callers name by `numbers`."""
    return parent.section_name in ("", port.name) and (parent.port is None or parent.port in numbers)
