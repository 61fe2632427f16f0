"""The ports of a service as callers name them, and the clusters behind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.api.host_suffixes import DOMAINS, Domains, host_names, service_in
from meshwright.control_plane.api.models.instances import Port
from meshwright.control_plane.core.attachment import EffectivePolicy
from meshwright.control_plane.core.views import HostView, default_port
from meshwright.control_plane.core.world import Service
from meshwright.control_plane.policies.externalservice.spec import (
    HTTP_PORT,
    ExternalPort,
    ExternalService,
    ExternalServiceSpec,
)
from meshwright.control_plane.policies.hooks import NO_CLUSTER
from meshwright.control_plane.policies.subset.spec import Subset

HTTPS_PORT = 443


def cluster_name(service: Service, port: Port) -> str:
    """`orders`, or `orders:grpc` for a port other than the default one."""
    return service.name if port == default_port(service.ports) else f"{service.name}:{port.name}"


def subset_cluster(subset: Subset) -> str:
    """`orders/v2` for Subset v2 of orders."""
    return f"{subset.spec.service}/{subset.name}"


def cluster_of_host(services: Mapping[str, Service], host: str, domains: Domains) -> str:
    """The cluster behind a host of the mesh, such as `users` or `users:9090`; NO_CLUSTER if there is none."""
    service = services.get(service_in(host, domains))
    if service is None:
        return NO_CLUSTER
    ports = (port for port, hosts in domains_by_port(service, domains) if host in hosts)
    return next((cluster_name(service, port) for port in ports), NO_CLUSTER)


def with_clusters(
    services: Mapping[str, Service], policies: Iterable[EffectivePolicy], domains: Domains
) -> tuple[EffectivePolicy, ...]:
    """The policies, each with the clusters of the hosts of the mesh that it calls."""
    return tuple(
        replace(policy, clusters=tuple((host, cluster_of_host(services, host, domains)) for host in hosts))
        if (hosts := policy.hooks.mesh_hosts())
        else policy
        for policy in policies
    )


def default_external_port(spec: ExternalServiceSpec) -> ExternalPort | None:
    """The port of an ExternalService that a backendRef without a port means: the first http or grpc port."""
    return next((port for port in spec.ports if port.is_http), None)


def external_cluster_name(external: ExternalService, port: ExternalPort) -> str:
    """`/external/cards`, `/external/cards:443` for a port other than the default one, `:tcp-5432` for tcp.

    `:tls-443` where a gateway passes on the callers' TLS, which it counts as connections.
    """
    if port == default_external_port(external.spec):
        return cluster_names.external_cluster(external.name)
    prefix = cluster_names.TCP_PORT if port.protocol == "tcp" else ""
    if external.spec.via and port.protocol in ("https", "tls"):
        prefix = cluster_names.TLS_PORT
    return cluster_names.external_cluster(external.name, f"{prefix}{port.port}")


def called_external_cluster(external: ExternalService, port: ExternalPort) -> str:
    """The cluster of callers, which leads outside or to a gateway."""
    cluster = external_cluster_name(external, port)
    via = external.spec.via
    return cluster_names.egress_cluster(via.name, cluster) if via else cluster


def external_domains(spec: ExternalServiceSpec, port: ExternalPort) -> tuple[str, ...]:
    """The domains of a port of an ExternalService; networks have none. No port in a host means port 80."""
    exact = (address for address in spec.addresses if "/" not in address)
    names = (*spec.hosts, *(f"[{address}]" if ":" in address else address for address in exact))
    bare = names if port.port == HTTP_PORT else ()
    return (*bare, *(f"{name}:{port.port}" for name in names))


def default_port_speaks(service: Service, *protocols: str) -> bool:
    """Whether the default port of a service speaks one of these protocols."""
    port = default_port(service.ports)
    return port is not None and port.protocol in protocols


def port_numbers(service: Service, port: Port) -> tuple[int, ...]:
    """The numbers by which callers name a port: its own, and 80 for the default port.

    Also 443 where the default port is gRPC: gRPC libraries use it towards a proxy when the user names no
    port, although the call is plaintext.
    """
    implied: tuple[int, ...] = ()
    if port == default_port(service.ports):
        implied = {"http": (80,), "grpc": (80, HTTPS_PORT)}.get(port.protocol, ())
    return (*implied, port.number) if port.number else implied


def domains_by_port(
    service: Service, domains_of_mesh: Domains = DOMAINS
) -> Iterable[tuple[Port, tuple[str, ...]]]:
    """Each port that speaks HTTP with its domains; a domain that two ports claim belongs to the first.

    The default port comes first. Envoy rejects a domain that occurs twice.
    """
    default = default_port(service.ports)
    taken: set[str] = set()
    names = host_names(service.name, domains_of_mesh)
    for port in sorted(service.ports, key=lambda port: port != default):
        if port.protocol == "tcp":
            continue
        bare = names if port == default else ()
        numbered = (f"{host}:{number}" for number in port_numbers(service, port) for host in names)
        domains = tuple(host for host in dict.fromkeys((*bare, *numbered)) if host not in taken)
        taken.update(domains)
        yield port, domains


def tunnel_domains(
    service: Service, taken: set[str], domains_of_mesh: Domains = DOMAINS
) -> Iterable[tuple[Port, tuple[str, ...]]]:
    """Each tcp port that has a number with its domains, without those in `taken`, which are HTTP's."""
    names = host_names(service.name, domains_of_mesh)
    taken = set(taken)
    for port in service.ports:
        numbered = [f"{host}:{port.number}" for host in names] if port.number else []
        domains = tuple(host for host in numbered if host not in taken)
        if port.protocol == "tcp" and domains:
            taken.update(domains)
            yield port, domains


def https_refusal_hosts(
    service: Service, taken: set[str], domains: Domains = DOMAINS
) -> tuple[HostView, ...]:
    """The host of HTTPS to a service, unless one of its ports has that number."""
    names = tuple(f"{name}:{HTTPS_PORT}" for name in host_names(service.name, domains))
    if not taken or taken.intersection(names):
        return ()
    return (HostView(names[0], names, (), https_refused_for=service.name),)
