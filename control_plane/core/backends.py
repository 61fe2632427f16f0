"""backendRefs of routes → clusters, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meshwright.control_plane.api.models.instances import Port
from meshwright.control_plane.core.ports import (
    called_external_cluster,
    cluster_name,
    port_numbers,
    subset_cluster,
)
from meshwright.control_plane.core.views import default_port
from meshwright.control_plane.core.world import Service
from meshwright.control_plane.policies.externalservice.spec import ExternalService
from meshwright.control_plane.policies.httproute.backends import BackendObjectReference
from meshwright.control_plane.policies.subset.spec import Subset

Services = Mapping[str, Service]


@dataclass(frozen=True, slots=True)
class BackendCluster:
    """The cluster behind a backendRef; if it is empty, why.

    `failure` is a reason of the Gateway API for `ResolvedRefs`, `field` the field of the backendRef that is
    the cause, `message` says what is wrong with it.
    """

    cluster: str = ""
    failure: str = ""
    field: str = ""
    message: str = ""


class BackendResolver:
    """Resolves backendRefs with the Subsets and ExternalServices of one set of documents."""

    def __init__(self, subsets: Mapping[str, Subset], externals: Mapping[str, ExternalService]) -> None:
        self._subsets = subsets
        self._externals = externals

    def subsets_of(self, service: str) -> tuple[Subset, ...]:
        """The subsets of a service, by name."""
        return tuple(subset for _, subset in sorted(self._subsets.items()) if subset.spec.service == service)

    def service_of(self, ref: BackendObjectReference) -> str:
        """The service behind a backendRef; empty for an unknown subset and for hosts outside."""
        if ref.kind == "Service":
            return ref.name
        if ref.kind == "ExternalService":
            return ""
        subset = self._subsets.get(ref.name)
        return subset.spec.service if subset else ""

    def http_cluster(
        self, services: Services, ref: BackendObjectReference, *, grpc: bool = False
    ) -> BackendCluster:
        """The cluster behind a backendRef of an HTTPRoute, or with `grpc` of a GRPCRoute.

        Without a port it is the default one, or with `grpc` the first gRPC port, if there is one.
        """
        return self._cluster(services, ref, ("http", "grpc"), first="grpc" if grpc else "")

    def tcp_cluster(self, services: Services, ref: BackendObjectReference) -> BackendCluster:
        """The cluster behind a backendRef of a TCPRoute. Without a port it is the first tcp port."""
        return self._cluster(services, ref, ("tcp",), first="tcp")

    def _cluster(
        self, services: Services, ref: BackendObjectReference, protocols: tuple[str, ...], first: str
    ) -> BackendCluster:
        if ref.kind == "ExternalService":
            return self._external_cluster(ref, protocols)
        subset = self._subsets.get(ref.name) if ref.kind == "Subset" else None
        if ref.kind == "Subset" and subset is None:
            return _not_found("name", f"there is no Subset {ref.name} yet")
        service = services.get(subset.spec.service if subset else ref.name)
        if service is None:
            name = f"Service {subset.spec.service} of Subset {ref.name}" if subset else f"Service {ref.name}"
            return _not_found("name", f"there is no {name} yet")
        default = default_port(service.ports)
        if subset:
            port = default if default and ref.port in (None, *port_numbers(service, default)) else None
        else:
            port = _port(service, ref.port, first)
        if port is None:
            return _no_port(service, ref, default if subset else None)
        if port.protocol not in protocols:
            message = f"port {port.name} of Service {service.name} speaks {port.protocol}"
            return BackendCluster("", "UnsupportedProtocol", "port", message)
        return BackendCluster(subset_cluster(subset) if subset else cluster_name(service, port))

    def _external_cluster(self, ref: BackendObjectReference, protocols: tuple[str, ...]) -> BackendCluster:
        external = self._externals.get(ref.name)
        if external is None:
            return _not_found("name", f"there is no ExternalService {ref.name} yet")
        ports = external.spec.ports
        number = ref.port
        port = next(
            (
                port
                for port in ports
                if (port.protocol in protocols if number is None else port.port == number)
            ),
            None,
        )
        if port is None:
            names = ", ".join(f"{entry.port} ({entry.protocol})" for entry in ports)
            return _not_found("port", f"ExternalService {ref.name} has no such port: it has {names}")
        if port.protocol not in protocols:
            message = f"port {port.port} of ExternalService {ref.name} speaks {port.protocol}"
            return BackendCluster("", "UnsupportedProtocol", "port", message)
        if not external.spec.is_fixed:
            message = f"ExternalService {ref.name} has several hosts: a route needs one with one exact host"
            return BackendCluster("", "UnsupportedValue", "name", message)
        return BackendCluster(called_external_cluster(external, port))


def _port(service: Service, number: int | None, first: str) -> Port | None:
    """The port with this number; without one the first that speaks `first`, else the default one."""
    default = default_port(service.ports)
    if number is None:
        return next((port for port in service.ports if port.protocol == first), default)
    if default and number in port_numbers(service, default):
        return default
    return next((port for port in service.ports if port.number == number), None)


def _not_found(field: str, message: str) -> BackendCluster:
    return BackendCluster("", "BackendNotFound", field, message)


def _no_port(service: Service, ref: BackendObjectReference, only: Port | None) -> BackendCluster:
    if not service.ports:
        return _not_found("name", f"Service {service.name} has no port")
    ports = (only,) if only else service.ports
    names = ", ".join(
        f"{port.name} ({'/'.join(map(str, port_numbers(service, port))) or 'no number'})" for port in ports
    )
    what = f"Subset {ref.name}" if only else f"Service {service.name}"
    return _not_found("port", f"{what} has no port {ref.port}: it has {names}")
