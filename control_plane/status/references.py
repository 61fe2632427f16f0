"""What the references of policies lead to: targets, parents, backends, mirrors, callers. Pure.

Every name, section, port and host name is resolved against the world as it is now. What does not resolve is a
`ReferenceProblem` that names the field, says what Envoy does about it, and suggests the closest name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from meshwright.control_plane.api.host_suffixes import service_in
from meshwright.control_plane.core.backends import BackendCluster, BackendResolver
from meshwright.control_plane.core.listeners import Attached, attach, listeners_of
from meshwright.control_plane.core.ports import cluster_of_host, port_numbers
from meshwright.control_plane.core.rollouts import concerns
from meshwright.control_plane.core.tcp_routes import selects_port
from meshwright.control_plane.core.world import Service, World
from meshwright.control_plane.policies.backendtlspolicy.spec import BackendTLSPolicy
from meshwright.control_plane.policies.base import TargetedPolicy, TargetRef
from meshwright.control_plane.policies.certificate.spec import Certificate
from meshwright.control_plane.policies.externalservice.spec import ExternalService
from meshwright.control_plane.policies.gateway.spec import Gateway, Listener
from meshwright.control_plane.policies.grpcroute.spec import GRPCRoute, GRPCRouteRule
from meshwright.control_plane.policies.hooks import NO_CLUSTER
from meshwright.control_plane.policies.httproute.backends import BackendObjectReference
from meshwright.control_plane.policies.httproute.parents import ParentReference, RoutePolicy
from meshwright.control_plane.policies.httproute.spec import HTTPRoute, HTTPRouteRule
from meshwright.control_plane.policies.rollout.spec import Rollout
from meshwright.control_plane.policies.subset.spec import Subset
from meshwright.control_plane.policies.tcproute.spec import TCPRoute
from meshwright.control_plane.policies.tlsroute.spec import TLSRoute
from meshwright.control_plane.policies.validation_messages import closest_match, suggestion
from meshwright.control_plane.status.certificates import (
    NO_CERTIFICATES,
    CertificateReferences,
    NodeCertificates,
)


class BoundPort(NamedTuple):
    """Where a node binds a listener. `option`: the one by which its operator chose the port; empty: none."""

    port: int
    option: str = ""


GatewayPorts = Mapping[str, Mapping[str, BoundPort]]
"""The gateways that are connected, with the ports of their listeners."""

NEEDS_ADDRESSES = ("HealthCheck", "LoadBalancer")
"""Kinds that act on the addresses of a destination alone."""

_LATER = "the policy takes effect when there is"


@dataclass(frozen=True, slots=True)
class ReferenceProblem:
    """A reference that does not resolve. `reason` is the Gateway API's word; `message` names the field."""

    reason: str
    message: str


class References:
    """Resolves the references of one world. `gateways` are those that are connected.

    Before any is, those that the world names count as well. `certificates` are those that gateways have.
    """

    def __init__(
        self, world: World, gateways: GatewayPorts, certificates: NodeCertificates = NO_CERTIFICATES
    ) -> None:
        self._world = world
        self._bound = gateways
        self._gateways = {
            document.policy.name: document.policy
            for document in world.documents
            if isinstance(document.policy, Gateway)
        }
        self._routes = {
            document.ref: document.policy
            for document in world.documents
            if isinstance(document.policy, RoutePolicy)
        }
        documents = (document.policy for document in world.documents)
        self.certificates = CertificateReferences(
            {policy.name: policy for policy in documents if isinstance(policy, Certificate)}, certificates
        )
        subsets = {
            document.policy.name: document.policy
            for document in world.documents
            if isinstance(document.policy, Subset)
        }
        externals = {
            document.policy.name: document.policy
            for document in world.documents
            if isinstance(document.policy, ExternalService)
        }
        self._externals = externals
        self._backends = BackendResolver(subsets, externals)
        self._names: dict[str, set[str]] = {
            "Service": set(world.services),
            "Subset": set(subsets),
            "ExternalService": set(externals),
            "Gateway": {*(gateways or world.gateways), *self._gateways},
        }
        for ref in self._routes:
            kind, _, name = ref.partition("/")
            self._names.setdefault(kind, set()).add(name)

    # --- routes -----------------------------------------------------------------------------------------

    def parent(self, route: RoutePolicy, index: int) -> tuple[Attached, ReferenceProblem | None]:
        """Where a route attaches by one of its parentRefs, and why it does not."""
        ref = route.spec.parent_refs[index]
        path = f"spec.parentRefs[{index}]"
        if ref.name not in self._names[ref.kind]:
            missing = self._missing(ref.kind, ref.name)
            problem = ReferenceProblem("NoMatchingParent", f"{path}.name: {missing}: {_LATER}")
            return Attached(failure=problem.reason), problem
        if ref.kind == "Service":
            attached = attach_to_service(route, ref, self._world.services[ref.name])
        else:
            attached = attach(route, ref, self.listeners(ref.name))
        if not attached.failure:
            return attached, None
        field = "spec.hostnames" if attached.field == "hostnames" else path
        field += f".{attached.field}" if attached.field not in ("", "hostnames") else ""
        message = f"{field}: {ref.kind} {ref.name} {attached.message}"
        return attached, ReferenceProblem(attached.failure, f"{message}: the route is not attached there")

    def backends(self, route: RoutePolicy) -> Iterator[ReferenceProblem]:
        """The backends and mirrors of a route that do not resolve."""
        for path, ref in route.spec.backend_references():
            resolved = self._backend(route, ref)
            if resolved.failure:
                suggestion = self._suggestion(ref.kind, ref.name) if resolved.field == "name" else ""
                consequence = _consequence(route, path, ref)
                message = f"{path}.{resolved.field}: {resolved.message}{suggestion}: {consequence}"
                yield ReferenceProblem(resolved.failure, message)

    def _backend(self, route: RoutePolicy, ref: BackendObjectReference) -> BackendCluster:
        if isinstance(route, TCPRoute | TLSRoute):
            return self._backends.tcp_cluster(self._world.services, ref)
        return self._backends.http_cluster(self._world.services, ref, grpc=isinstance(route, GRPCRoute))

    # --- gateways ---------------------------------------------------------------------------------------

    def listeners(self, gateway: str) -> tuple[Listener, ...]:
        """What a gateway listens on."""
        bound = {name: item.port for name, item in self._bound.get(gateway, {}).items()}
        return listeners_of(self._gateways.get(gateway), bound)

    def bound_port(self, gateway: str, listener: str) -> BoundPort:
        """Where a connected gateway binds a listener by its node's own choice; port 0 if there is none."""
        return self._bound.get(gateway, {}).get(listener, BoundPort(0))

    def is_missing_gateway(self, name: str) -> bool:
        """Whether gateways are connected, and none of this name."""
        return bool(self._bound) and name not in self._bound

    def routes_to(self, gateway: str) -> Iterator[RoutePolicy]:
        """The routes with a parentRef to a gateway."""
        for route in self._routes.values():
            if any((ref.kind, ref.name) == ("Gateway", gateway) for ref in route.spec.parent_refs):
                yield route

    # --- targets ----------------------------------------------------------------------------------------

    def targets(self, policy: TargetedPolicy) -> list[ReferenceProblem | None]:
        """For each targetRef why it does not resolve."""
        return [self._target(policy, ref, index) for index, ref in enumerate(policy.spec.target_refs)]

    def _target(self, policy: TargetedPolicy, ref: TargetRef, index: int) -> ReferenceProblem | None:
        path = f"spec.targetRefs[{index}]"
        if ref.kind != "Mesh" and ref.name not in self._names.get(ref.kind, ()):
            message = f"{path}.name: {self._missing(ref.kind, ref.name)}: {_LATER}"
            return ReferenceProblem("TargetNotFound", message)
        route = self._routes.get(f"{ref.kind}/{ref.name}")
        if route and policy.spec.gateway_routes_only and _is_only_inside(route):
            message = f"{ref.kind} {ref.name} is attached to no Gateway, and {policy.kind} is enforced there"
            advice = "target the Service to protect it from callers in the mesh"
            return ReferenceProblem("NoEffect", f"{path}.name: {message}: {advice}")
        external = self._externals.get(ref.name) if ref.kind == "ExternalService" else None
        if external and not external.spec.is_fixed and policy.kind in NEEDS_ADDRESSES:
            message = f"{path}.name: {policy.kind} needs a list of addresses, and ExternalService {ref.name}"
            advice = "has several hosts, each resolved as it is called: give it endpoints, or one host"
            return ReferenceProblem("NoEffect", f"{message} {advice}")
        if not ref.section_name:
            return None
        if ref.kind == "Gateway":
            return self._listener_target(ref, path)
        rules = route.spec.rules if isinstance(route, HTTPRoute | GRPCRoute) else ()
        names = [rule.name for rule in rules if rule.name]
        if ref.section_name in names:
            return None
        advice = suggestion(ref.section_name, names, f"its rules are {', '.join(names) or 'not named'}")
        problem = f"{ref.kind} {ref.name} has no rule {ref.section_name!r}"
        return ReferenceProblem("TargetNotFound", f"{path}.sectionName: {problem}: {advice}")

    def _listener_target(self, ref: TargetRef, path: str) -> ReferenceProblem | None:
        names = [listener.name for listener in self.listeners(ref.name)]
        if ref.section_name in names:
            return None
        problem = f"Gateway {ref.name} has no listener {ref.section_name!r}: it has {', '.join(names)}"
        return ReferenceProblem("TargetNotFound", f"{path}.sectionName: {problem}")

    def authorities(self, policy: TargetedPolicy) -> list[ReferenceProblem]:
        """Certificates that a BackendTLSPolicy names and that do not exist, or have no CA."""
        if not isinstance(policy, BackendTLSPolicy):
            return []
        problems = self.certificates.authorities(policy)
        return [ReferenceProblem(item.reason, f"{item.field}: {item.message}") for item in problems]

    def via(self, external: ExternalService) -> list[ReferenceProblem]:
        """The gateway that calls go through, if there is none of its name."""
        via = external.spec.via
        if via is None or via.name in self._names["Gateway"]:
            return []
        suggested = _did_you_mean(closest_match(via.name, sorted(self._names["Gateway"])))
        message = f"spec.via.name: there is no Gateway {via.name} yet{suggested}: calls fail until there is"
        return [ReferenceProblem("GatewayNotFound", message)]

    def ports(self, policy: TargetedPolicy) -> Iterator[ReferenceProblem]:
        """The names of ports that no service has to which a policy is attached."""
        targets = policy.spec.target_refs
        names = {ref.name for ref in targets if ref.kind == "Service"}
        if any(ref.kind == "Mesh" for ref in targets):
            names = set(self._world.services)
        services = [service for name, service in self._world.services.items() if name in names]
        ports = sorted({port.name for service in services for port in service.ports})
        for field, name in policy.spec.port_names() if ports else ():
            if name not in ports:
                suggested = _did_you_mean(closest_match(name, ports)) or f" (there is {', '.join(ports)})"
                owner = f"Service {services[0].name}" if len(services) == 1 else "none of the services"
                has = "has no" if len(services) == 1 else "has a"
                message = f"spec.{field}: {owner} {has} port named {name!r}{suggested}: it matches nothing"
                yield ReferenceProblem("PortNotFound", message)

    def shadowed(self, external: ExternalService) -> Iterator[ReferenceProblem]:
        """Hosts that are names of services of the mesh, in one of its domains: the declared host wins."""
        for index, host in enumerate(external.spec.hosts):
            if (name := service_in(host, self._world.domains)) in self._world.services and name != host:
                message = f"spec.hosts[{index}]: {host} is Service {name} by MESH_DOMAINS: calls of this name"
                yield ReferenceProblem("HostConflict", f"{message} leave the mesh: remove the host")

    def called(self, policy: TargetedPolicy) -> Iterator[ReferenceProblem]:
        """URLs of services of the mesh that do not exist or have no such port, and unfit schemes."""
        services, domains = self._world.services, self._world.domains
        for field, url in policy.spec.called_urls():
            if reason := url.misplaced(services, domains):
                yield ReferenceProblem("BackendNotFound", f"spec.{field}: {reason}")
                continue
            if not url.mesh or cluster_of_host(services, url.authority, domains) != NO_CLUSTER:
                continue
            service = services.get(name := service_in(url.host, domains))
            missing = f"Service {name} has no http or grpc port {url.port}" if service else ""
            missing = missing or self._missing("Service", name)
            message = f"spec.{field}: {missing}: requests that need it fail until there is"
            yield ReferenceProblem("BackendNotFound", message)

    def callers(self, policy: TargetedPolicy | ExternalService) -> list[ReferenceProblem]:
        """The names in `from` that nobody in the mesh has."""
        callers = self._names["Service"] | self._names["Gateway"]
        return [
            ReferenceProblem(
                "CallerNotFound",
                f"spec.from[{index}]: there is no Service or Gateway {name} yet"
                f"{_did_you_mean(closest_match(name, sorted(callers)))}: nobody calls under this name",
            )
            for index, name in enumerate(policy.spec.from_)
            if name not in callers
        ]

    def subset(self, policy: Subset) -> ReferenceProblem | None:
        """Why a Subset selects nothing."""
        if policy.spec.service in self._names["Service"]:
            return None
        missing = self._missing("Service", policy.spec.service)
        return ReferenceProblem("TargetNotFound", f"spec.service: {missing}: {_LATER}")

    def rollout(self, policy: Rollout) -> tuple[ReferenceProblem | None, list[ReferenceProblem]]:
        """Why a Rollout decides about nothing, if so; and its backends that do not resolve."""
        spec = policy.spec
        route = self._routes.get(spec.route.ref)
        if not isinstance(route, HTTPRoute | GRPCRoute):
            missing = self._missing(spec.route.kind, spec.route.name)
            return ReferenceProblem("TargetNotFound", f"spec.route.name: {missing}: {_LATER}"), []
        rules: Sequence[HTTPRouteRule | GRPCRouteRule] = route.spec.rules
        if not any(concerns(spec, rule) for rule in rules):
            backends = f"{spec.stable.kind} {spec.stable.name} or {spec.canary.kind} {spec.canary.name}"
            where = f" {spec.route.section_name!r}" if spec.route.section_name else ""
            message = f"no rule{where} of {spec.route.kind} {spec.route.name} has {backends} as a backend"
            return ReferenceProblem("NoEffect", f"spec.route: {message}: name one in its backendRefs"), []
        problems = []
        for field, ref in (("stable", spec.stable), ("canary", spec.canary)):
            resolved = self._backend(route, ref)
            if resolved.failure:
                advice = self._suggestion(ref.kind, ref.name) if resolved.field == "name" else ""
                message = f"spec.{field}.{resolved.field}: {resolved.message}{advice}: its share gets 500"
                problems.append(ReferenceProblem(resolved.failure, message))
        return None, problems

    # --- names ------------------------------------------------------------------------------------------

    def _missing(self, kind: str, name: str) -> str:
        return f"there is no {kind} {name} yet{self._suggestion(kind, name)}"

    def _suggestion(self, kind: str, name: str) -> str:
        return _did_you_mean(closest_match(name, sorted(self._names.get(kind, set()) - {name})))


def _is_only_inside(route: RoutePolicy) -> bool:
    """Whether a route has parents, and no Gateway among them."""
    parents = route.spec.parent_refs
    return bool(parents) and all(parent.kind != "Gateway" for parent in parents)


def attach_to_service(route: RoutePolicy, ref: ParentReference, service: Service) -> Attached:
    """The ports of a Service to which a route attaches by one parentRef; without any, why."""
    if isinstance(route, TLSRoute):
        message = "is a Service, and TLSRoutes apply at Gateways only"
        return Attached(failure="NoMatchingParent", field="kind", message=message)
    protocols = ("tcp",) if isinstance(route, TCPRoute) else ("http", "grpc")
    ports = [port for port in service.ports if port.protocol in protocols]
    if not ports:
        return Attached(
            failure="NoMatchingParent", field="name", message=f"has no {'/'.join(protocols)} port"
        )
    if any(selects_port(ref, port, port_numbers(service, port)) for port in ports):
        return Attached()
    names = ", ".join(
        f"{port.name} ({'/'.join(map(str, port_numbers(service, port))) or 'no number'})" for port in ports
    )
    field = "sectionName" if all(ref.section_name not in ("", port.name) for port in ports) else "port"
    value = repr(ref.section_name) if field == "sectionName" else str(ref.port)
    kinds = "/".join(protocols)
    message = f"has no {kinds} port {value}: it has {names}"
    return Attached(failure="NoMatchingParent", field=field, message=message)


def _consequence(route: RoutePolicy, path: str, ref: BackendObjectReference) -> str:
    """What Envoy does instead of sending to the backend."""
    if path.endswith("requestMirror.backendRef"):
        return "no copies are sent"
    if getattr(ref, "weight", 1) == 0:
        return "its weight is 0, so nothing is sent to it anyway"
    if isinstance(route, TCPRoute | TLSRoute):
        return "its share of the connections is closed"
    if isinstance(route, GRPCRoute):
        return "its share of the calls fails with UNAVAILABLE"
    return "its share is answered with 500"


def _did_you_mean(name: str) -> str:
    return f" (did you mean {name}?)" if name else ""


def lines(problems: Iterable[ReferenceProblem]) -> str:
    """The messages of problems as one text."""
    return "; ".join(dict.fromkeys(problem.message for problem in problems))
