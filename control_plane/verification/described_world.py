"""A world without a running mesh: the services that policies name, besides those that are declared. Pure.

Envoy's verdict on a policy depends on the services that it is about, but hardly on their instances.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping

from meshwright.control_plane.api.models.base import Protocol
from meshwright.control_plane.api.models.instances import Port
from meshwright.control_plane.core.world import Instance, Service, World
from meshwright.control_plane.policies.base import Policy, TargetedSpec
from meshwright.control_plane.policies.gateway.spec import Gateway
from meshwright.control_plane.policies.grpcroute.spec import GRPCRoute
from meshwright.control_plane.policies.httproute.parents import RoutePolicy
from meshwright.control_plane.policies.subset.spec import Subset
from meshwright.control_plane.policies.tcproute.spec import TCPRoute
from meshwright.control_plane.policies.tlsroute.spec import TLSRoute

PROTOCOLS: Mapping[type[Policy], Protocol] = {
    GRPCRoute: "grpc",
    TCPRoute: "tcp",
    TLSRoute: "tcp",
}
"""What the services of a route speak, if not http."""

Ports = Mapping[str, tuple[Port, ...]]


def described_world(declared: Ports, gateways: Collection[str], policies: Iterable[Policy]) -> World:
    """A world of the `declared` services and gateways, and of those that policies name, without documents.

    A service that is only named has the ports that routes say, and an http port.
    """
    ports: dict[str, dict[Port, None]] = defaultdict(dict)
    entries = {*gateways, *World(0).gateways}
    for policy in policies:
        entries.update(_gateways(policy))
        for service, port in _services(policy):
            ports[service][port] = None
    described = {name: (Port(), *(each for each in named if each != Port())) for name, named in ports.items()}
    services = {
        name: Service(name, service_ports, (Instance(f"{name}-1", "127.0.0.1", 1),))
        for name, service_ports in sorted({**described, **declared}.items())
    }
    return World(0, services, gateways=tuple(sorted(entries)))


def _gateways(policy: Policy) -> Iterator[str]:
    """The gateways that a policy is or names."""
    if isinstance(policy, Gateway):
        yield policy.name
    if isinstance(policy, RoutePolicy):
        yield from (parent.name for parent in policy.spec.parent_refs if parent.kind == "Gateway")
    if isinstance(policy.spec, TargetedSpec):
        yield from (target.name for target in policy.spec.target_refs if target.kind == "Gateway")


def _services(policy: Policy) -> Iterator[tuple[str, Port]]:
    """The services that a policy names, each with a port that it says or has by default."""
    if isinstance(policy, Subset):
        yield policy.spec.service, Port()
    if isinstance(policy.spec, TargetedSpec):
        names = (target.name for target in policy.spec.target_refs if target.kind == "Service")
        yield from ((name, Port()) for name in (*names, *policy.spec.from_))
    if isinstance(policy, RoutePolicy):
        protocol = PROTOCOLS.get(type(policy), "http")
        for parent in policy.spec.parent_refs:
            if parent.kind == "Service":
                yield parent.name, _port(protocol, parent.port or 0, parent.section_name)
        for _, backend in policy.spec.backend_references():
            if backend.kind == "Service":
                yield backend.name, _port(protocol, backend.port or 0)


def _port(protocol: Protocol, number: int, name: str = "") -> Port:
    """A port of a protocol; two of one service have names of their own."""
    if protocol == "http" and number in (0, 80) and name in ("", "http"):
        return Port()
    return Port(
        name=name or (f"{protocol}-{number}" if number else protocol), protocol=protocol, number=number
    )
