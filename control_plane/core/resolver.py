"""World → views: who may call what, by which routes, under which policies.

One `Resolver` is made per set of documents and asked for one view at a time, so that the cost of a change
follows what it concerns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from meshwright.control_plane.api.models.instances import Port
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core.attachment import (
    AttachmentPoint,
    Attachments,
    EffectivePolicy,
    implementing,
)
from meshwright.control_plane.core.connect_tunnel import HTTPS_PORT
from meshwright.control_plane.core.hostnames import intersect_hostnames
from meshwright.control_plane.core.views import (
    BackendView,
    ClusterView,
    DestinationView,
    GatewayView,
    HostView,
    ListenerView,
    LoadBalancingView,
    MirrorView,
    NodeView,
    RuleView,
    TelemetryView,
    UpstreamView,
    default_port,
)
from meshwright.control_plane.core.world import Labels, PolicyDocument, Service
from meshwright.control_plane.policies.base import EndpointWeights
from meshwright.control_plane.policies.gateway.spec import Gateway, Listener
from meshwright.control_plane.policies.grpcroute.spec import GRPCRoute
from meshwright.control_plane.policies.httproute.backends import BackendObjectReference
from meshwright.control_plane.policies.httproute.spec import (
    HTTPBackendRef,
    HTTPRoute,
    HTTPRouteRule,
    ParentReference,
)
from meshwright.control_plane.policies.mutualtls.spec import MutualTLSMode, MutualTLSSpec, strictest
from meshwright.control_plane.policies.retry.spec import Retry
from meshwright.control_plane.policies.subset.spec import Subset
from meshwright.control_plane.policies.tcproute.spec import TCPParentReference, TCPRoute
from meshwright.control_plane.policies.telemetry.spec import TelemetrySpec
from meshwright.control_plane.policies.timeout.spec import Timeout

RequestRoute = HTTPRoute | GRPCRoute

DEFAULT_LISTENER = Listener(name="http", port=80, protocol="HTTP")
"""What a gateway listens on when no Gateway document describes it."""


class Resolver:
    """Answers for one set of documents; `services` may be any later state of the world's services."""

    def __init__(self, documents: tuple[PolicyDocument, ...], trust_domain: str) -> None:
        self.attachments = Attachments(documents)
        self._trust_domain = trust_domain
        self._routes: dict[tuple[str, str], list[tuple[PolicyDocument, RequestRoute, ParentReference]]] = (
            defaultdict(list)
        )
        self._tcp_routes: dict[str, list[tuple[PolicyDocument, TCPRoute, TCPParentReference]]] = defaultdict(
            list
        )
        self._subsets: dict[str, Subset] = {}
        self._gateways: dict[str, Gateway] = {}
        for document in documents:
            match document.policy:
                case HTTPRoute() | GRPCRoute() as route:
                    for parent in route.spec.parent_refs:
                        self._routes[parent.kind, parent.name].append((document, route, parent))
                case TCPRoute() as connections:
                    for target in connections.spec.parent_refs:
                        self._tcp_routes[target.name].append((document, connections, target))
                case Subset() as subset:
                    self._subsets[subset.name] = subset
                case Gateway() as gateway:
                    self._gateways[gateway.name] = gateway

    # --- what is asked for ------------------------------------------------------------------------

    def distinct_callers(self, service: str) -> frozenset[str]:
        """Callers that see something else of `service` than all others do."""
        routes = tuple({document.ref for document, _, _ in self._routes.get(("Service", service), ())})
        return self.attachments.distinct_callers(service, routes)

    def destination(self, services: Mapping[str, Service], name: str, caller: str = "") -> DestinationView:
        """How `caller` (empty: any without a variant of its own) calls service `name`."""
        service = services[name]
        first = default_port(service.ports)
        hosts = tuple(
            self._host(services, service, port, domains, caller)
            for port, domains in _domains_by_port(service, first)
            if domains
        )
        hosts += _https_refusal_hosts(service, {one for host in hosts for one in host.domains})
        return DestinationView(name, hosts, self._clusters(service, first, caller))

    def telemetry(self, service: str = "", gateway: str = "") -> TelemetryView:
        """What the sidecars of `service`, or the proxies of `gateway`, tell of their requests."""
        bound = self.attachments.effective_at(AttachmentPoint(service=service, gateway=gateway))
        for one in bound:
            if isinstance(one.spec, TelemetrySpec):
                return TelemetryView(service or gateway, one.spec, one.ref)
        return TelemetryView(service or gateway)

    def node(self, service: Service) -> NodeView:
        """What the sidecars of `service` need for requests that come in."""
        bound = self.attachments.effective_at(AttachmentPoint(service=service.name))
        modes = _mutual_tls_policies(bound)
        shaping = (*implementing(bound, "patch_inbound_route"), *modes)
        return NodeView(
            service.name, service.ports, _strictest_mode(modes), shaping, self.telemetry(service.name)
        )

    def gateway(self, services: Mapping[str, Service], name: str) -> GatewayView:
        """What the proxies of gateway `name` need."""
        document = self._gateways.get(name)
        listeners = document.spec.listeners if document else (DEFAULT_LISTENER,)
        ports: dict[int, list[Listener]] = defaultdict(list)
        for one in listeners:
            ports[one.port].append(one)
        views = tuple(self._listener(services, name, those) for those in ports.values())
        return GatewayView(name, self.telemetry(gateway=name), views, document.ref if document else "")

    def gateways(self) -> frozenset[str]:
        """Every gateway that a document describes or attaches a route to."""
        return frozenset(self._gateways) | {name for kind, name in self._routes if kind == "Gateway"}

    def upstreams(self, services: Mapping[str, Service]) -> Mapping[str, UpstreamView]:
        """Every tcp port that a caller may declare: the first of `db` as `db`, each as `db:name`."""
        found: dict[str, UpstreamView] = {}
        for service in services.values():
            ports = [port for port in service.ports if port.protocol == "tcp"]
            views = [(port, self._upstream(services, service, port)) for port in ports]
            if views:
                found[service.name] = views[0][1]
            found.update((f"{service.name}:{port.name}", view) for port, view in views)
        return found

    def _upstream(self, services: Mapping[str, Service], service: Service, port: Port) -> UpstreamView:
        attached = [
            (document.created, route.name, route)
            for document, route, parent in self._tcp_routes.get(service.name, ())
            if parent.port in (None, port.number)
        ]
        if not attached:
            return UpstreamView(((cluster_name(service.name, port, default_port(service.ports)), 1),))
        oldest = min(attached, key=lambda one: one[:2])[2]
        refs = oldest.spec.rules[0].backend_refs
        backends = tuple((self._tcp_cluster(services, ref), ref.weight) for ref in refs)
        return UpstreamView(backends, (oldest.ref,))

    def _tcp_cluster(self, services: Mapping[str, Service], ref: BackendObjectReference) -> str:
        """The cluster behind a TCPRoute's backendRef; empty when there is no such service, port or subset."""
        service = services.get(self.service_of(ref))
        if service is None:
            return ""
        if ref.kind == "Subset":
            return subset_cluster(self._subsets[ref.name]) if _default_port_speaks(service, "tcp") else ""
        ports = [port for port in service.ports if port.protocol == "tcp"]
        meant = [port for port in ports if ref.port in (None, port.number)]
        return cluster_name(service.name, meant[0], default_port(service.ports)) if meant else ""

    def endpoint_sets(self, service: Service) -> tuple[tuple[str, Labels], ...]:
        """Each cluster of `service` with the labels its endpoints must carry."""
        first = default_port(service.ports)
        whole: list[tuple[str, Labels]] = [
            (cluster_name(service.name, port, first), ()) for port in service.ports
        ]
        return (
            *whole,
            *((subset_cluster(one), one.spec.labels) for one in self.subsets(service.name) if first),
        )

    def load_balancing(self, service: str) -> Mapping[str, LoadBalancingView]:
        """How requests to `service` are shared among its endpoints: for all callers (empty), and for each
        caller for whom it is another way."""
        everybody = self._load_balancing(service, "")
        own = {
            caller: self._load_balancing(service, caller) for caller in sorted(self.distinct_callers(service))
        }
        return {"": everybody, **{caller: one for caller, one in own.items() if one != everybody}}

    def _load_balancing(self, service: str, caller: str) -> LoadBalancingView:
        bound = implementing(
            self.attachments.effective_at(AttachmentPoint(service=service, caller=caller)), "endpoint_weights"
        )
        said = [(found, one.ref) for one in bound if (found := one.spec.endpoint_weights()) is not None]
        return (
            LoadBalancingView(said[-1][0], tuple(ref for _, ref in said))
            if said
            else LoadBalancingView(EndpointWeights())
        )

    def subsets(self, service: str) -> tuple[Subset, ...]:
        """The subsets of a service, by name."""
        return tuple(one for _, one in sorted(self._subsets.items()) if one.spec.service == service)

    # --- clusters ---------------------------------------------------------------------------------

    def _clusters(self, service: Service, first: Port | None, caller: str) -> tuple[ClusterView, ...]:
        policies = self.attachments.effective_at(AttachmentPoint(service=service.name, caller=caller))
        modes = _mutual_tls_policies(policies)
        shaping = (*implementing(policies, "patch_cluster"), *modes)
        plaintext = _strictest_mode(modes) == "Disabled"
        identity = Identity(self._trust_domain, "service", service.name).uri
        names = [(port, cluster_name(service.name, port, first), "") for port in service.ports]
        if first:
            names += [(first, subset_cluster(one), one.ref) for one in self.subsets(service.name)]
        return tuple(
            ClusterView(name, service.name, port, identity, plaintext and port == first, shaping, subset)
            for port, name, subset in names
        )

    def _cluster_of(
        self, services: Mapping[str, Service], ref: BackendObjectReference, grpc: bool = False
    ) -> str:
        """The cluster behind a backendRef; empty when there is no such service, port or subset.

        Without a port it is the default one; for `grpc` the first gRPC port, if there is one.
        """
        if ref.kind == "Subset":
            subset = self._subsets.get(ref.name)
            whole = services.get(subset.spec.service) if subset else None
            return (
                subset_cluster(subset)
                if subset and whole and _default_port_speaks(whole, "http", "grpc")
                else ""
            )
        service = services.get(ref.name)
        if not service:
            return ""
        first = default_port(service.ports)
        if _default_port_speaks(service, "tcp"):
            return ""
        if ref.port is None and grpc:
            meant = next((one for one in service.ports if one.protocol == "grpc"), first)
            return cluster_name(service.name, meant, first) if meant else ""
        if ref.port is None or (first and ref.port in _port_numbers(first, is_first=True)):
            return service.name if first else ""
        found = [one for one in service.ports if one.number == ref.port and one.protocol != "tcp"]
        return cluster_name(service.name, found[0], first) if found else ""

    def service_of(self, ref: BackendObjectReference) -> str:
        """The service behind a backendRef; empty for an unknown subset."""
        if ref.kind == "Service":
            return ref.name
        subset = self._subsets.get(ref.name)
        return subset.spec.service if subset else ""

    # --- virtual hosts and rules ------------------------------------------------------------------

    def _host(
        self,
        services: Mapping[str, Service],
        service: Service,
        port: Port,
        domains: tuple[str, ...],
        caller: str,
    ) -> HostView:
        first = default_port(service.ports)
        numbers = _port_numbers(port, port == first)
        attached = {
            document.ref: (document, route)
            for document, route, parent in self._routes.get(("Service", service.name), ())
            if parent.port is None or parent.port in numbers
        }
        site = AttachmentPoint(service=service.name, caller=caller)
        rules = tuple(
            one
            for document, route in attached.values()
            for one in self._rules(services, document, route, site)
        )
        if not attached or (
            port.protocol == "http" and all(isinstance(route, GRPCRoute) for _, route in attached.values())
        ):
            rules += (self._default_rule(service, port, first, site),)
        return HostView(domains[0], domains, rules)

    def _default_rule(
        self, service: Service, port: Port, first: Port | None, site: AttachmentPoint
    ) -> RuleView:
        ref = HTTPBackendRef(name=service.name, port=None if port == first else port.number)
        backend = BackendView(ref, cluster_name(service.name, port, first))
        rule = HTTPRouteRule(backend_refs=(ref,))
        on_route = self._route_policies(site)
        return RuleView("", rule, (0, "", 0), (backend,), (), on_route, port.protocol == "grpc")

    def _route_policies(self, site: AttachmentPoint) -> tuple[EffectivePolicy, ...]:
        return implementing(self.attachments.effective_at(site), "patch_route")

    def _rules(
        self,
        services: Mapping[str, Service],
        document: PolicyDocument,
        route: RequestRoute,
        site: AttachmentPoint,
    ) -> Iterable[RuleView]:
        grpc = isinstance(route, GRPCRoute)
        for index, (rule, ranks) in enumerate(_http_rules(route)):
            backends = tuple(
                BackendView(ref, self._cluster_of(services, ref, grpc)) for ref in rule.backend_refs
            )
            mirrors = tuple(
                MirrorView(
                    self._cluster_of(services, one.request_mirror.backend_ref, grpc), one.request_mirror.share
                )
                for one in rule.filters
                if one.request_mirror is not None
            )
            called = [ref for ref in rule.backend_refs if ref.weight]
            service = site.service or next(map(self.service_of, called), "")
            here = AttachmentPoint(
                service=service,
                caller=site.caller,
                gateway=site.gateway,
                route=document.ref,
                rule=rule.name,
                inline=tuple(_inline_policies(rule, document.ref)),
            )
            age = (document.created, route.name, index)
            yield RuleView(
                document.ref, rule, age, backends, mirrors, self._route_policies(here), grpc, ranks
            )

    def _listener(
        self, services: Mapping[str, Service], gateway: str, listeners: list[Listener]
    ) -> ListenerView:
        """The listeners of one port are one to Envoy, told apart by host; `http` names it, or the first."""
        attached: dict[str, dict[str, tuple[PolicyDocument, RequestRoute]]] = {
            one.hostname: {} for one in listeners if one.hostname
        }
        for one in listeners:
            for document, route, parent in self._routes.get(("Gateway", gateway), ()):
                if parent.section_name in ("", one.name) and parent.port in (None, one.port):
                    for host in intersect_hostnames(one.hostname or "", route.spec.hostnames):
                        attached.setdefault(host or "*", {})[document.ref] = (document, route)
        site = AttachmentPoint(caller=gateway, gateway=gateway)
        hosts = []
        for host, found in sorted(attached.items()):
            rules = (one for each in found.values() for one in self._rules(services, *each, site))
            hosts.append(HostView(host, (host,), tuple(rules)))
        names = [one.name for one in listeners]
        return ListenerView("http" if "http" in names else names[0], listeners[0].port, tuple(hosts))


def _default_port_speaks(service: Service, *protocols: str) -> bool:
    """Whether the default port of a service speaks one of these."""
    first = default_port(service.ports)
    return first is not None and first.protocol in protocols


def _strictest_mode(bounds: Iterable[EffectivePolicy]) -> MutualTLSMode:
    return strictest(one.spec.mode for one in bounds if isinstance(one.spec, MutualTLSSpec))


def _mutual_tls_policies(bounds: Iterable[EffectivePolicy]) -> tuple[EffectivePolicy, ...]:
    return tuple(one for one in bounds if isinstance(one.spec, MutualTLSSpec))


def _port_numbers(port: Port, is_first: bool) -> tuple[int, ...]:
    """Numbers by which callers name a port: its own, 80 for a service's default port, and 443 where that is
    gRPC: libraries say so to a proxy when the user names no port, though the call is in the clear."""
    implied = {"http": (80,), "grpc": (80, HTTPS_PORT)}.get(port.protocol, ()) if is_first else ()
    return (*implied, port.number) if port.number else implied


def _https_refusal_hosts(service: Service, taken: set[str]) -> tuple[HostView, ...]:
    """What HTTPS to a service means by default, unless a port of its own has that number."""
    names = (f"{service.name}:{HTTPS_PORT}", f"{service.name}.mesh:{HTTPS_PORT}")
    if not taken or taken.intersection(names):
        return ()
    return (HostView(names[0], names, (), https_refused_for=service.name),)


def _http_rules(route: RequestRoute) -> Iterable[tuple[HTTPRouteRule, tuple[tuple[int, int], ...]]]:
    """Each rule as an HTTPRoute has it, with the ranks of its matches when it is a GRPCRoute's."""
    if isinstance(route, HTTPRoute):
        yield from ((rule, ()) for rule in route.spec.rules)
    else:
        yield from ((rule.to_http(), tuple(one.rank for one in rule.matches)) for rule in route.spec.rules)


def _domains_by_port(service: Service, first: Port | None) -> Iterable[tuple[Port, tuple[str, ...]]]:
    """Each port that speaks HTTP with the hosts that mean it; a host that two ports claim is the first's.

    The first port comes first, since Envoy refuses a domain that occurs twice.
    """
    taken: set[str] = set()
    names = (service.name, f"{service.name}.mesh")
    for port in sorted(service.ports, key=lambda one: one != first):
        if port.protocol == "tcp":
            continue
        bare = names if port == first else ()
        numbered = (f"{host}:{number}" for number in _port_numbers(port, port == first) for host in names)
        domains = tuple(one for one in dict.fromkeys((*bare, *numbered)) if one not in taken)
        taken.update(domains)
        yield port, domains


def cluster_name(service: str, port: Port, first: Port | None) -> str:
    """`orders`, or `orders:grpc` for a port other than the one a bare host means."""
    return service if port == first else f"{service}:{port.name}"


def subset_cluster(subset: Subset) -> str:
    """`orders/v2` for Subset v2 of orders."""
    return f"{subset.spec.service}/{subset.name}"


def _inline_policies(rule: HTTPRouteRule, ref: str) -> Iterable[EffectivePolicy]:
    """Gateway API's inline timeouts and retry, as the policies they amount to."""
    if rule.timeouts is not None:
        yield EffectivePolicy("Timeout", Timeout.order, rule.timeouts.to_timeout_spec(), ref)
    if rule.retry is not None:
        yield EffectivePolicy("Retry", Retry.order, rule.retry.to_retry_spec(), ref)
