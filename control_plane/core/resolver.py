"""World → views: who may call what, by which routes, under which policies.

One `Resolver` exists per set of documents and computes one view at a time, so the cost of a change follows
what it affects.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache

from meshwright.control_plane.api.host_suffixes import DOMAINS, Domains
from meshwright.control_plane.api.models.instances import Port
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core import shared_filters
from meshwright.control_plane.core.attachment import (
    AttachmentPoint,
    Attachments,
    EffectivePolicy,
    implementing,
    refs_of,
)
from meshwright.control_plane.core.backends import BackendResolver, Services
from meshwright.control_plane.core.external_resolver import NO_GATEWAYS, ExternalResolver
from meshwright.control_plane.core.intercepts import intercept_cluster
from meshwright.control_plane.core.listeners import listeners_of, served
from meshwright.control_plane.core.ports import (
    cluster_name,
    domains_by_port,
    https_refusal_hosts,
    subset_cluster,
    tunnel_domains,
    with_clusters,
)
from meshwright.control_plane.core.rollouts import Rollouts
from meshwright.control_plane.core.route_resolver import RouteResolver
from meshwright.control_plane.core.secure_listeners import SecureListenerResolver
from meshwright.control_plane.core.shared_filters import SharedFilterView
from meshwright.control_plane.core.tcp_routes import TcpRouteResolver
from meshwright.control_plane.core.views import (
    ClusterView,
    DestinationView,
    GatewayView,
    ListenerSettings,
    ListenerView,
    LoadBalancingView,
    NodeView,
    TrialView,
    TunnelView,
    UpstreamView,
    default_port,
)
from meshwright.control_plane.core.world import Intercept, Labels, PolicyDocument, Service
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.certificate.spec import Certificate
from meshwright.control_plane.policies.externalservice.spec import ExternalService
from meshwright.control_plane.policies.gateway.edge import edge_settings
from meshwright.control_plane.policies.gateway.spec import Gateway, Listener
from meshwright.control_plane.policies.grpcroute.spec import GRPCRoute
from meshwright.control_plane.policies.hook_registry import default_specs
from meshwright.control_plane.policies.hooks import (
    EndpointWeights,
    ListenerDirection,
    TransportMode,
    Trial,
    strictest,
)
from meshwright.control_plane.policies.httproute.spec import HTTPRoute
from meshwright.control_plane.policies.registry import kinds
from meshwright.control_plane.policies.subset.spec import Subset
from meshwright.control_plane.policies.tcproute.spec import TCPRoute
from meshwright.control_plane.policies.tlsroute.spec import TLSRoute


class Resolver:
    """Computes the views of one set of documents; `services` may be any later state of the services.

    `last`: that of the documents before.
    """

    def __init__(
        self,
        documents: tuple[PolicyDocument, ...],
        trust_domain: str,
        last: Resolver | None = None,
        domains: Domains = DOMAINS,
    ) -> None:
        self.attachments = Attachments(documents)
        self._trust_domain = trust_domain
        self._domains = domains
        self._gateways: dict[str, Gateway] = {}
        subsets: dict[str, Subset] = {}
        certificates: dict[str, Certificate] = {}
        left = last.externals.egress_gateways if last else NO_GATEWAYS
        self.externals: ExternalResolver = ExternalResolver(
            self.attachments, certificates, trust_domain, left
        )
        self._backends = BackendResolver(subsets, self.externals.services)
        self._routes = RouteResolver(self.attachments, self._backends, Rollouts(documents), domains)
        self._tcp_routes = TcpRouteResolver(self._backends)
        self._secure_listeners = SecureListenerResolver(
            self.attachments, self._routes, self._tcp_routes, certificates
        )
        for document in documents:
            match document.policy:
                case HTTPRoute() | GRPCRoute() as route:
                    self._routes.add(document, route)
                case TCPRoute() | TLSRoute() as connection_route:
                    self._tcp_routes.add(document, connection_route)
                case Certificate() as certificate:
                    certificates[certificate.name] = certificate
                case Subset() as subset:
                    subsets[subset.name] = subset
                case ExternalService() as external:
                    self.externals.add(document, external)
                case Gateway() as gateway:
                    self._gateways[gateway.name] = gateway

    # --- policies ---------------------------------------------------------------------------------

    def distinct_callers(self, service: str) -> frozenset[str]:
        """Callers whose view of `service` may differ from everybody else's."""
        return self.attachments.distinct_callers(service, self._routes.routes_of(service))

    def edge_points(self, service: str, caller: str = "") -> tuple[AttachmentPoint, ...]:
        """Where policies attach on the edge from `caller` to `service`: the edge, then each route rule."""
        return tuple(self._routes.points(service, caller))

    def gateway_points(self, gateway: str, service: str = "") -> tuple[AttachmentPoint, ...]:
        """Where policies attach at a gateway, or on its edge to `service`: the edge, then each rule."""
        listeners = listeners_of(self._gateways.get(gateway))
        return tuple(self._routes.gateway_points(gateway, service, listeners))

    def listeners(self, gateway: str) -> tuple[Listener, ...]:
        """The listeners of a gateway that are served, in the order of its document."""
        return served(listeners_of(self._gateways.get(gateway)))

    def listener_settings(self, service: str = "", gateway: str = "") -> ListenerSettings:
        """The settings of the sidecars of `service`, or the proxies of `gateway`."""
        effective = self.attachments.effective_at(AttachmentPoint(service=service, gateway=gateway))
        policies = implementing(effective, "patch_listener")
        present = {policy.kind for policy in policies}
        defaults = tuple(policy for policy in _default_policies() if policy.kind not in present)
        ordered = sorted((*policies, *defaults), key=lambda policy: policy.order)
        return ListenerSettings(service or gateway, tuple(ordered))

    # --- views ------------------------------------------------------------------------------------

    def destination(self, services: Services, name: str, caller: str = "") -> DestinationView:
        """How `caller` calls service `name`; an empty caller stands for all that have no variant."""
        service = services[name]
        hosts = tuple(
            self._routes.host(services, service, port, domains, caller)
            for port, domains in domains_by_port(service, self._domains)
            if domains
        )
        taken = {domain for host in hosts for domain in host.domains}
        hosts += https_refusal_hosts(service, taken, self._domains)
        taken = {domain for host in hosts for domain in host.domains}
        tunnels = tuple(
            TunnelView(domains, self._tcp_routes.upstream(services, service, port))
            for port, domains in tunnel_domains(service, taken, self._domains)
        )
        return DestinationView(name, hosts, self._clusters(service, caller), tunnels)

    def node(self, services: Services, service: Service) -> NodeView:
        """What the sidecars of `service` need for inbound requests."""
        effective = self.attachments.effective_at(AttachmentPoint(service=service.name))
        inbound = implementing(effective, "patch_inbound_route", "transport_mode")
        policies = with_clusters(services, inbound, self._domains)
        settings = self.listener_settings(service.name)
        filters = self._shared_filters("inbound", [policies, *self.externals.places(service.name)])
        return NodeView(
            service.name,
            service.ports,
            _transport_mode(policies),
            policies,
            settings,
            filters=filters,
            trust_domain=self._trust_domain,
        )

    def patches(self, service: str = "", gateway: str = "") -> tuple[EffectivePolicy, ...]:
        """The patches of finished resources of a service's sidecars, or of a gateway's proxies."""
        effective = self.attachments.effective_at(AttachmentPoint(service=service, gateway=gateway))
        return implementing(effective, "patch_resource")

    def transport_mode(self, service: str) -> TransportMode:
        """Which transport the sidecars of `service` accept."""
        effective = self.attachments.effective_at(AttachmentPoint(service=service))
        return _transport_mode(implementing(effective, "transport_mode"))

    def gateway(self, services: Services, name: str) -> GatewayView:
        """What the proxies of gateway `name` need."""
        document = self._gateways.get(name)
        listeners = listeners_of(document)
        by_port: dict[int, list[Listener]] = defaultdict(list)
        views = []
        for listener in served(listeners):
            if listener.protocol != "TCP":
                by_port[listener.port].append(listener)
            else:
                view = self._tcp_routes.listener(services, name, listener, listeners)
                point = AttachmentPoint(caller=name, gateway=name, listener=listener.name)
                policies = implementing(self.attachments.effective_at(point), "connection_filter")
                views.append(ListenerView(listener.name, listener.port, (), view, policies))
        for group in by_port.values():
            if document is None or not group[0].speaks_tls:
                views.append(self._routes.listener(services, name, group, listeners))
            elif secure := self._secure_listeners.listener(services, document, group):
                views.append(secure)
        settings = self.listener_settings(gateway=name)
        places = [rule.policies for view in views for host in view.all_hosts for rule in host.rules]
        filters, egress = self._shared_filters("ingress", places), self.externals.egress(name)
        gateway = GatewayView(name, settings, tuple(views), filters=filters, egress=egress)
        if document is None:
            return gateway
        return replace(gateway, document=document.ref, edge=edge_settings(document.spec))

    def _shared_filters(
        self, direction: ListenerDirection, places: Iterable[Iterable[EffectivePolicy]]
    ) -> tuple[SharedFilterView, ...]:
        """What the shared filters of a proxy depend on; `places`: the policies in force at each route."""
        views = []
        for kind, combinations in shared_filters.combinations(direction, places).items():
            policies = {policy for members in combinations for policy in members}
            clusters = sorted({entry for policy in policies for entry in policy.clusters})
            views.append(SharedFilterView(kind, combinations, tuple(clusters)))
        return tuple(views)

    def outside_clusters(self) -> tuple[v3.Cluster, ...]:
        """Clusters of hosts outside the mesh that policies call, by name."""
        clusters = {
            cluster.name: cluster
            for policy in self.attachments.policies()
            for cluster in policy.hooks.outside_clusters()
        }
        return tuple(cluster for _, cluster in sorted(clusters.items()))

    def gateways(self) -> frozenset[str]:
        """Every gateway that a document describes, attaches a route to, or sends calls through."""
        routed = self._routes.gateways() | self._tcp_routes.gateways()
        return routed.union(self._gateways, self.externals.gateways)

    def upstreams(self, services: Services) -> Mapping[str, UpstreamView]:
        """Every tcp port that a caller may declare: the first one of `db` as `db`, each as `db:name`."""
        return self._tcp_routes.upstreams(services)

    # --- clusters and endpoints -------------------------------------------------------------------

    def _clusters(self, service: Service, caller: str) -> tuple[ClusterView, ...]:
        default = default_port(service.ports)
        effective = self.attachments.effective_at(AttachmentPoint(service=service.name, caller=caller))
        policies = implementing(effective, "patch_cluster", "transport_mode")
        plaintext = _transport_mode(policies) is TransportMode.DISABLED
        identity = Identity(self._trust_domain, "service", service.name).uri
        clusters = [(port, cluster_name(service, port), "") for port in service.ports]
        if default:
            subsets = self._backends.subsets_of(service.name)
            clusters += [(default, subset_cluster(subset), subset.ref) for subset in subsets]
        clusters += [
            (port, intercept_cluster(cluster_name(service, port), intercept), "")
            for port in service.ports
            for intercept in service.intercepts
        ]
        trial = _trial(effective)
        return tuple(
            ClusterView(
                name,
                service.name,
                port,
                identity,
                plaintext and port == default,
                policies,
                subset,
                _trial_view(trial, service, port) if trial else None,
            )
            for port, name, subset in clusters
        )

    def endpoint_sets(self, service: Service) -> Iterator[tuple[str, Port, Labels, Intercept | None]]:
        """Each cluster of `service`: its port, and the labels of its endpoints or their intercept."""
        for port in service.ports:
            name = cluster_name(service, port)
            yield name, port, (), None
            for intercept in service.intercepts:
                yield intercept_cluster(name, intercept), port, (), intercept
        if default := default_port(service.ports):
            for subset in self._backends.subsets_of(service.name):
                yield subset_cluster(subset), default, subset.spec.labels, None

    def load_balancing(self, service: str) -> Mapping[str, LoadBalancingView]:
        """How requests to `service` are spread over its endpoints, by caller.

        The empty name stands for all callers without an entry of their own.
        """
        everyone = self._load_balancing(service, "")
        variants = {
            caller: self._load_balancing(service, caller) for caller in sorted(self.distinct_callers(service))
        }
        return {"": everyone, **{caller: view for caller, view in variants.items() if view != everyone}}

    def _load_balancing(self, service: str, caller: str) -> LoadBalancingView:
        effective = self.attachments.effective_at(AttachmentPoint(service=service, caller=caller))
        policies = [
            (weights, policy)
            for policy in implementing(effective, "endpoint_weights")
            if (weights := policy.hooks.endpoint_weights()) is not None
        ]
        weights = policies[-1][0] if policies else EndpointWeights()
        refs = refs_of(policy for _, policy in policies)
        return LoadBalancingView(weights, refs, trial=_trial(effective) is not None)


@cache
def _default_policies() -> tuple[EffectivePolicy, ...]:
    """The defaults of kinds that shape every listener."""
    return tuple(EffectivePolicy(kind, kinds()[kind].order, spec, "") for kind, spec in default_specs())


def _trial(policies: Iterable[EffectivePolicy]) -> Trial | None:
    """How ejected instances are tried: what the last kind that has a say decides."""
    decisions = [policy.hooks.trial() for policy in implementing(policies, "trial")]
    return decisions[-1] if decisions else None


def _trial_view(trial: Trial, service: Service, port: Port) -> TrialView:
    """The declared health path is that of the first http port."""
    http = next((candidate for candidate in service.ports if candidate.protocol == "http"), None)
    return TrialView(trial.open_for, port.protocol, service.health_path if port == http else "")


def _transport_mode(policies: Iterable[EffectivePolicy]) -> TransportMode:
    modes = (policy.hooks.transport_mode() for policy in policies)
    return strictest(mode for mode in modes if mode is not None)
