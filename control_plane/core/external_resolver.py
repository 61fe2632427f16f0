"""ExternalServices → views: which hosts outside the mesh a caller may use, by which clusters and policies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.api.node_certificates import CertificateFiles
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core import tls
from meshwright.control_plane.core.attachment import (
    AttachmentPoint,
    Attachments,
    EffectivePolicy,
    implementing,
)
from meshwright.control_plane.core.ports import (
    called_external_cluster,
    external_cluster_name,
    external_domains,
)
from meshwright.control_plane.core.views import (
    EgressClusterView,
    EgressView,
    ExternalClusterView,
    ExternalHostView,
    ExternalView,
    HostView,
    RuleView,
    UpstreamView,
)
from meshwright.control_plane.core.world import PolicyDocument
from meshwright.control_plane.policies.certificate.spec import Certificate
from meshwright.control_plane.policies.externalservice.spec import HTTP_PORT, ExternalPort, ExternalService
from meshwright.control_plane.policies.httproute.envoy import ResolvedBackend
from meshwright.control_plane.policies.httproute.spec import HTTPBackendRef, HTTPRouteRule

AT_THE_GATEWAY = ("BackendTLSPolicy", "HealthCheck", "LoadBalancer")
"""Kinds about the addresses of a host, which only the gateway knows that calls go through."""

NO_GATEWAYS: Mapping[str, str] = {}


class ExternalResolver:
    """The ExternalServices of one set of documents. `certificates` by name.

    `left`: the gateways that calls went through by the documents before, by ExternalService.
    """

    def __init__(
        self,
        attachments: Attachments,
        certificates: Mapping[str, Certificate],
        trust_domain: str,
        left: Mapping[str, str] = NO_GATEWAYS,
    ) -> None:
        self._attachments = attachments
        self._trust_domain = trust_domain
        self._left = left
        self._certificates = certificates
        self._documents: list[tuple[PolicyDocument, ExternalService]] = []
        self.services: dict[str, ExternalService] = {}
        self._views: dict[str, tuple[ExternalView, ...]] = {}

    def add(self, document: PolicyDocument, service: ExternalService) -> None:
        """Index a document."""
        self._documents.append((document, service))
        self.services[service.name] = service

    @cached_property
    def callers(self) -> frozenset[str]:
        """Callers whose view of the hosts outside may differ from everybody else's."""
        names: set[str] = set()
        for _, service in self._documents:
            names.update(service.spec.from_, self._attachments.callers_of_external(service.name))
        return frozenset(names)

    def clusters(self, caller: str) -> tuple[ExternalClusterView, ...]:
        """The clusters of all documents, also of those that only routes lead `caller` to."""
        return tuple(
            _cluster(service, port, self._with_certificates(self._effective(service, caller)))
            for service in self.services.values()
            for port in service.spec.ports
        )

    def egress_clusters(self, caller: str) -> tuple[EgressClusterView, ...]:
        """The clusters by which `caller` reaches the gateways on the way outside."""
        return tuple(
            EgressClusterView(
                called_external_cluster(service, port),
                Identity(self._trust_domain, "gateway", via.name).uri,
                _sni(service, port),
                _cluster(service, port, self._at_caller(service, caller)),
            )
            for service in self.services.values()
            if (via := service.spec.via)
            for port in service.spec.ports
        )

    def egress(self, gateway: str) -> tuple[EgressView, ...]:
        """What goes through a gateway.

        One that calls no longer go through keeps its way for requests until the documents change again:
        sidecars hear of the change at different moments.
        """
        return tuple(
            EgressView(
                cluster_names.egress_cluster(gateway, external_cluster_name(service, port)),
                service.ref,
                _sni(service, port),
                port,
                external_cluster_name(service, port),
                service.spec.from_,
            )
            for service in self.services.values()
            for port in service.spec.ports
            if self.gateway_of(service) == gateway or (port.is_http and self._has_left(service, gateway))
        )

    def _has_left(self, service: ExternalService, gateway: str) -> bool:
        return service.spec.is_fixed and self._left.get(service.name) == gateway

    def egress_sets(self, gateway: str) -> tuple[tuple[str, str], ...]:
        """The clusters whose endpoints are a gateway's instances, each with the name of the host outside."""
        return tuple(
            (called_external_cluster(service, port), service.spec.host_name)
            for service in self.services.values()
            if self.gateway_of(service) == gateway
            for port in service.spec.ports
        )

    @cached_property
    def egress_gateways(self) -> Mapping[str, str]:
        """The gateways that calls go through, by ExternalService."""
        gateways = {name: self.gateway_of(service) for name, service in self.services.items()}
        return {name: gateway for name, gateway in gateways.items() if gateway}

    @property
    def gateways(self) -> frozenset[str]:
        """The gateways that calls go through, or did before."""
        return frozenset((*self.egress_gateways.values(), *self._left.values()))

    @staticmethod
    def gateway_of(service: ExternalService) -> str:
        """The gateway that calls of a host go through; empty if there is none."""
        return service.spec.via.name if service.spec.via else ""

    def views(self, caller: str) -> tuple[ExternalView, ...]:
        """What `caller` may call outside, the oldest document first.

        An empty caller stands for all that have no variant. A domain that two documents claim belongs to the
        older one.
        """
        key = caller if caller in self.callers else ""
        if key not in self._views:
            taken: set[str] = set()
            self._views[key] = tuple(self._view(service, key, taken) for service in self._visible(key))
        return self._views[key]

    def places(self, caller: str) -> tuple[tuple[EffectivePolicy, ...], ...]:
        """The policies in force at each port that `caller` may call outside."""
        hosts = (host for view in self.views(caller) for host in view.hosts)
        return tuple(rule.policies for host in hosts for rule in host.host.rules)

    def _effective(self, service: ExternalService, caller: str) -> tuple[EffectivePolicy, ...]:
        return self._attachments.effective_at(AttachmentPoint(external=service.name, caller=caller))

    def _at_caller(self, service: ExternalService, caller: str) -> tuple[EffectivePolicy, ...]:
        """What is in force where a caller's sidecar reaches the gateway."""
        return tuple(
            policy for policy in self._effective(service, caller) if policy.kind not in AT_THE_GATEWAY
        )

    def _with_certificates(self, policies: Iterable[EffectivePolicy]) -> tuple[EffectivePolicy, ...]:
        """The policies, each with the files of the Certificates that it names."""
        return tuple(
            replace(policy, certificates=tuple(self._files(names)))
            if (names := policy.hooks.certificate_names())
            else policy
            for policy in policies
        )

    def _files(self, certificates: Iterable[str]) -> Iterator[tuple[str, CertificateFiles]]:
        for name in certificates:
            if name in self._certificates:
                yield name, self._certificates[name].files

    def _visible(self, caller: str) -> Iterator[ExternalService]:
        for _, service in sorted(self._documents, key=lambda entry: (entry[0].created, entry[1].name)):
            if not service.spec.from_ or caller in service.spec.from_:
                yield service

    def _view(self, service: ExternalService, caller: str, taken: set[str]) -> ExternalView:
        effective = self._effective(service, caller)
        policies = implementing(effective, "patch_route", "patch_gateway_route")
        hosts = []
        for port in service.spec.ports:
            view = _host(service, port, policies)
            domains = tuple(domain for domain in view.host.domains if domain not in taken)
            taken.update(domains)
            if domains or view.networks:
                hosts.append(replace(view, host=replace(view.host, domains=domains)))
        return ExternalView(service.ref, tuple(hosts), tuple(_upstream(service)))


def _upstream(service: ExternalService) -> Iterator[tuple[str, UpstreamView]]:
    """What callers may declare as an upstream: the first tcp port of `db` as `db`."""
    ports = [port for port in service.spec.ports if port.protocol == "tcp"]
    if ports and service.spec.is_fixed:
        cluster = called_external_cluster(service, ports[0])
        yield service.name, UpstreamView(((cluster, 1),), (service.ref,))


def _host(
    service: ExternalService, port: ExternalPort, policies: tuple[EffectivePolicy, ...]
) -> ExternalHostView:
    spec, cluster = service.spec, called_external_cluster(service, port)
    ref = HTTPBackendRef(group="meshwright.io", kind="ExternalService", name=service.name, port=port.port)
    rule = RuleView(
        service.ref,
        HTTPRouteRule(backend_refs=(ref,)),
        (0, "", 0),
        (ResolvedBackend(ref, cluster),),
        (),
        policies,
        grpc=port.protocol == "grpc",
    )
    number = 0 if port.port == HTTP_PORT else port.port
    name = external_cluster_name(service, port).removeprefix("/")
    host = HostView(name, external_domains(spec, port), (rule,), port=number)
    networks = tuple(address for address in spec.addresses if "/" in address)
    return ExternalHostView(
        service.ref, host, port, cluster, networks, guarded=not spec.is_fixed, via=spec.via is not None
    )


def _sni(service: ExternalService, port: ExternalPort) -> str:
    """The SNI by which a gateway selects a port; no service has a name with a dot."""
    return tls.sni(f"{service.name}.external", str(port.port))


def _cluster(
    service: ExternalService, port: ExternalPort, effective: tuple[EffectivePolicy, ...]
) -> ExternalClusterView:
    trials = [policy.hooks.trial() for policy in implementing(effective, "trial")]
    ejected_for = trials[-1].open_for if trials and trials[-1] else None
    return ExternalClusterView(
        external_cluster_name(service, port),
        service.ref,
        service.spec,
        port,
        implementing(effective, "patch_cluster"),
        ejected_for,
    )
