"""HTTPRoutes and GRPCRoutes → rules of virtual hosts, with backends resolved and policies attached."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.api.host_suffixes import Domains
from meshwright.control_plane.api.models.instances import Port
from meshwright.control_plane.core.attachment import (
    AttachmentPoint,
    Attachments,
    EffectivePolicy,
    implementing,
    run_order,
)
from meshwright.control_plane.core.backends import BackendResolver
from meshwright.control_plane.core.hostnames import covers, most_specific, precedence
from meshwright.control_plane.core.intercepts import intercepted
from meshwright.control_plane.core.listeners import attach
from meshwright.control_plane.core.ports import cluster_name, port_numbers, with_clusters
from meshwright.control_plane.core.rollouts import Rollouts
from meshwright.control_plane.core.tcp_routes import selects_port
from meshwright.control_plane.core.views import HostView, ListenerView, RuleView, default_port
from meshwright.control_plane.core.world import PolicyDocument, Service
from meshwright.control_plane.policies.gateway.spec import Listener
from meshwright.control_plane.policies.grpcroute.spec import GRPCRoute, GRPCRouteRule
from meshwright.control_plane.policies.httproute.envoy import ResolvedBackend, ResolvedMirror
from meshwright.control_plane.policies.httproute.filters import HTTPRouteFilter
from meshwright.control_plane.policies.httproute.parents import ParentReference
from meshwright.control_plane.policies.httproute.spec import HTTPBackendRef, HTTPRoute, HTTPRouteRule
from meshwright.control_plane.policies.registry import kinds

Services = Mapping[str, Service]
RequestRoute = HTTPRoute | GRPCRoute
RouteRule = HTTPRouteRule | GRPCRouteRule


class RouteResolver:
    """The routes of one set of documents, by parent."""

    def __init__(
        self, attachments: Attachments, backends: BackendResolver, rollouts: Rollouts, domains: Domains
    ) -> None:
        self._attachments = attachments
        self._backends = backends
        self._rollouts = rollouts
        self._domains = domains
        self._routes: dict[tuple[str, str], list[tuple[PolicyDocument, RequestRoute, ParentReference]]]
        self._routes = defaultdict(list)

    def add(self, document: PolicyDocument, route: RequestRoute) -> None:
        """Index a route under each of its parents, with the weights of its rollouts."""
        route = self._rollouts.applied(route)
        for parent in route.spec.parent_refs:
            self._routes[parent.kind, parent.name].append((document, route, parent))

    def routes_of(self, service: str) -> tuple[str, ...]:
        """`Kind/name` of the routes attached to a service."""
        attached = self._routes.get(("Service", service), ())
        return tuple(dict.fromkeys(document.ref for document, _, _ in attached))

    def gateways(self) -> frozenset[str]:
        """Every gateway to which a route is attached."""
        return frozenset(name for kind, name in self._routes if kind == "Gateway")

    def points(self, service: str, caller: str) -> Iterator[AttachmentPoint]:
        """Where policies attach on the edge from `caller` to `service`: the edge, then each route rule."""
        edge = AttachmentPoint(service=service, caller=caller)
        yield edge
        attached = {document.ref: route for document, route, _ in self._routes.get(("Service", service), ())}
        for ref, route in attached.items():
            rules: Sequence[RouteRule] = route.spec.rules
            for rule in rules:
                yield _rule_point(edge, ref, rule)

    def gateway_points(
        self, gateway: str, service: str, listeners: tuple[Listener, ...]
    ) -> Iterator[AttachmentPoint]:
        """Where policies attach on requests from a gateway: the edge, then each route rule at each listener.

        `listeners` are those of the gateway. Only rules that lead to `service`; if it is empty, the points of
        the gateway itself.
        """
        edge = AttachmentPoint(service=service, caller=gateway, gateway=gateway)
        yield edge
        places: dict[str, tuple[RequestRoute, dict[str, None]]] = {}
        for document, route, parent in self._routes.get(("Gateway", gateway), ()):
            names = [listener.name for listener, _ in attach(route, parent, listeners).listeners]
            places.setdefault(document.ref, (route, {}))[1].update(dict.fromkeys(names or [""]))
        for ref, (route, names_of_listeners) in places.items():
            rules: Sequence[RouteRule] = route.spec.rules
            for rule, listener in product(rules, names_of_listeners):
                used = {self._backends.service_of(backend) for backend in rule.backend_refs if backend.weight}
                if not service or service in used:
                    yield _rule_point(replace(edge, listener=listener), ref, rule)

    def host(
        self, services: Services, service: Service, port: Port, domains: tuple[str, ...], caller: str
    ) -> HostView:
        """The virtual host of one port, with a default rule where no route replaces it."""
        numbers = port_numbers(service, port)
        attached = {
            document.ref: (document, route)
            for document, route, parent in self._routes.get(("Service", service.name), ())
            if selects_port(parent, port, numbers)
        }
        edge = AttachmentPoint(service=service.name, caller=caller)
        rules = tuple(
            rule
            for document, route in attached.values()
            for rule in self._rules(services, document, route, edge)
        )
        only_grpc = all(isinstance(route, GRPCRoute) for _, route in attached.values())
        if not attached or (port.protocol == "http" and only_grpc):
            rules += tuple(intercepted(services, self._default_rule(services, service, port, edge)))
        number = 0 if port == default_port(service.ports) else port.number
        return HostView(domains[0], domains, rules, port=number)

    def _default_rule(
        self, services: Services, service: Service, port: Port, edge: AttachmentPoint
    ) -> RuleView:
        number = None if port == default_port(service.ports) else port.number
        ref = HTTPBackendRef(name=service.name, port=number)
        backend = ResolvedBackend(ref, cluster_name(service, port))
        rule = HTTPRouteRule(backend_refs=(ref,))
        policies = self._route_policies(services, edge)
        return RuleView("", rule, (0, "", 0), (backend,), (), policies, port.protocol == "grpc")

    def _route_policies(self, services: Services, point: AttachmentPoint) -> tuple[EffectivePolicy, ...]:
        routed = implementing(self._attachments.effective_at(point), "patch_route")
        if not point.gateway:
            return with_clusters(services, routed, self._domains)
        # A target of kind Service means the service's own sidecars.
        at_gateway = implementing(
            self._attachments.effective_at(replace(point, service="")), "patch_gateway_route"
        )
        return with_clusters(services, sorted({*routed, *at_gateway}, key=run_order), self._domains)

    def _rules(
        self, services: Services, document: PolicyDocument, route: RequestRoute, edge: AttachmentPoint
    ) -> Iterator[RuleView]:
        grpc = isinstance(route, GRPCRoute)
        rules: Sequence[RouteRule] = route.spec.rules
        for index, rule in enumerate(rules):
            http_rule = rule.to_http() if isinstance(rule, GRPCRouteRule) else rule
            backends = tuple(
                self._backend(services, ref, edge.gateway, grpc=grpc) for ref in http_rule.backend_refs
            )
            mirrors = self._mirrors(services, http_rule.filters, grpc=grpc)
            point = _rule_point(self._edge_of(edge, rule), document.ref, rule)
            policies = self._route_policies(services, point)
            age = (document.created, route.name, index)
            keeps = isinstance(route, HTTPRoute) and route.keeps_paths
            view = RuleView(
                document.ref,
                rule,
                age,
                backends,
                mirrors,
                policies,
                grpc=grpc,
                keeps_paths=keeps,
                rollouts=self._rollouts.refs(document.ref, rule),
            )
            yield from intercepted(services, view)

    def _edge_of(self, edge: AttachmentPoint, rule: RouteRule) -> AttachmentPoint:
        """The edge of a rule of a gateway's route: to its first backend."""
        first = next((ref for ref in rule.backend_refs if ref.weight), None)
        if edge.service or first is None:
            return edge
        if first.kind == "ExternalService":
            return replace(edge, external=first.name)
        return replace(edge, service=self._backends.service_of(first))

    def _backend(
        self, services: Services, ref: HTTPBackendRef, gateway: str, *, grpc: bool
    ) -> ResolvedBackend:
        resolved = self._backends.http_cluster(services, ref, grpc=grpc)
        cluster = cluster_names.beyond(gateway, resolved.cluster)
        mirrors = self._mirrors(services, ref.filters, grpc=grpc)
        outside = ref.kind == "ExternalService"
        return ResolvedBackend(ref, cluster, resolved.message, mirrors, outside=outside)

    def _mirrors(
        self, services: Services, filters: Iterable[HTTPRouteFilter], *, grpc: bool
    ) -> tuple[ResolvedMirror, ...]:
        return tuple(
            ResolvedMirror(
                self._backends.http_cluster(services, item.request_mirror.backend_ref, grpc=grpc).cluster,
                item.request_mirror.share,
            )
            for item in filters
            if item.request_mirror is not None
        )

    def listener(
        self, services: Services, gateway: str, group: list[Listener], listeners: tuple[Listener, ...]
    ) -> ListenerView:
        """The HTTP listeners of one port as one listener of Envoy, distinguished by host.

        `listeners` are all of the gateway. It is named `http` if one of them is, otherwise after the first.
        A host belongs to the listener with the most specific hostname; its rules are those of every route
        attached there whose host name covers it, the most specific name first (HTTPRouteSpec.hostnames).
        """
        attached = self._attached(gateway, group, listeners)
        names = {listener.hostname for listener in group}
        name_of = {listener.hostname: listener.name for listener in group}
        rules_of: dict[tuple[str, str | None], tuple[RuleView, ...]] = {}
        for entry in attached:
            edge = AttachmentPoint(caller=gateway, gateway=gateway, listener=name_of[entry.listener])
            rules = tuple(self._rules(services, entry.document, entry.route, edge))
            rules_of[entry.document.ref, entry.listener] = rules
        hosts = []
        for host in sorted({entry.host for entry in attached} | (names - {""})):
            owner = most_specific(names, host)
            matching = [entry for entry in attached if entry.listener == owner and covers(entry.host, host)]
            in_order: dict[str, tuple[RuleView, ...]] = {}
            for entry in sorted(matching, key=lambda entry: precedence(entry.host)):
                if entry.document.ref not in in_order:
                    in_order[entry.document.ref] = tuple(
                        replace(rule, tier=precedence(entry.host), only_ports=entry.ports)
                        for rule in rules_of[entry.document.ref, owner]
                    )
            domain = host or "*"
            every = tuple(rule for of_route in in_order.values() for rule in of_route)
            hosts.append(HostView(domain, (domain,), every, port=group[0].port))
        listener_names = [listener.name for listener in group]
        name = "http" if "http" in listener_names else listener_names[0]
        return ListenerView(name, group[0].port, tuple(hosts))

    def secure_listener(
        self, services: Services, gateway: str, listener: Listener, listeners: tuple[Listener, ...]
    ) -> tuple[HostView, ...]:
        """The hosts of one HTTPS listener."""
        hosts = self.listener(services, gateway, [listener], listeners).hosts
        return tuple(replace(host, scheme="https") for host in hosts)

    def _attached(
        self, gateway: str, group: list[Listener], listeners: tuple[Listener, ...]
    ) -> list[_AttachedRoute]:
        """The routes of some listeners, each with one host under which one of them serves it."""
        entries: dict[tuple[str, str, str], _AttachedRoute] = {}
        for document, route, parent in self._routes.get(("Gateway", gateway), ()):
            for listener, hosts in attach(route, parent, listeners).listeners:
                if all(listener is not member for member in group):
                    continue
                only = (parent.port,) if parent.port and not listener.port else ()
                for host in hosts:
                    key = (document.ref, listener.hostname, host)
                    before = entries[key].ports if key in entries else only
                    ports = tuple(sorted({*before, *only})) if before and only else ()
                    entries[key] = _AttachedRoute(listener.hostname, host, document, route, ports)
        return list(entries.values())


@dataclass(frozen=True, slots=True)
class _AttachedRoute:
    """A route at a listener (by its hostname) for one host; `ports` as in RuleView.only_ports."""

    listener: str
    host: str
    document: PolicyDocument
    route: RequestRoute
    ports: tuple[int, ...]


def _rule_point(edge: AttachmentPoint, ref: str, rule: RouteRule) -> AttachmentPoint:
    return replace(edge, route=ref, rule=rule.name, inline=tuple(_inline_policies(rule, ref)))


def _inline_policies(rule: RouteRule, ref: str) -> Iterable[EffectivePolicy]:
    """The rule's own timeouts and retries (Gateway API) as policies of the route's document."""
    if isinstance(rule, HTTPRouteRule):
        for kind, spec in rule.inline_policies():
            yield EffectivePolicy(kind, kinds()[kind].order, spec, ref)
