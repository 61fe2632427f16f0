"""backendRefs of routes → clusters."""

from __future__ import annotations

from collections.abc import Mapping

from meshwright.control_plane.core.ports import (
    cluster_name,
    default_port_speaks,
    port_numbers,
    subset_cluster,
)
from meshwright.control_plane.core.views import default_port
from meshwright.control_plane.core.world import Service
from meshwright.control_plane.policies.httproute.backends import BackendObjectReference
from meshwright.control_plane.policies.subset.spec import Subset

Services = Mapping[str, Service]


class BackendResolver:
    """Resolves backendRefs with the Subsets of one set of documents."""

    def __init__(self, subsets: Mapping[str, Subset]) -> None:
        self._subsets = subsets

    def subsets_of(self, service: str) -> tuple[Subset, ...]:
        """The subsets of a service, by name."""
        return tuple(subset for _, subset in sorted(self._subsets.items()) if subset.spec.service == service)

    def service_of(self, ref: BackendObjectReference) -> str:
        """The service behind a backendRef; empty for an unknown subset."""
        if ref.kind == "Service":
            return ref.name
        subset = self._subsets.get(ref.name)
        return subset.spec.service if subset else ""

    def http_cluster(self, services: Services, ref: BackendObjectReference, *, grpc: bool = False) -> str:
        """The cluster behind a backendRef; empty when there is no such service, port or subset.

        Without a port it is the default one, or with `grpc` the first gRPC port, if there is one.
        """
        if ref.kind == "Subset":
            subset = self._subsets.get(ref.name)
            service = services.get(subset.spec.service) if subset else None
            available = subset and service and default_port_speaks(service, "http", "grpc")
            return subset_cluster(subset) if subset and available else ""
        service = services.get(ref.name)
        if not service or default_port_speaks(service, "tcp"):
            return ""
        default = default_port(service.ports)
        if ref.port is None and grpc:
            port = next((port for port in service.ports if port.protocol == "grpc"), default)
            return cluster_name(service, port) if port else ""
        if ref.port is None or (default and ref.port in port_numbers(service, default)):
            return service.name if default else ""
        ports = [port for port in service.ports if port.number == ref.port and port.protocol != "tcp"]
        return cluster_name(service, ports[0]) if ports else ""

    def tcp_cluster(self, services: Services, ref: BackendObjectReference) -> str:
        """The cluster behind a TCPRoute's backendRef; empty when there is no such service, port or subset."""
        service = services.get(self.service_of(ref))
        if service is None:
            return ""
        if ref.kind == "Subset":
            return subset_cluster(self._subsets[ref.name]) if default_port_speaks(service, "tcp") else ""
        ports = [port for port in service.ports if port.protocol == "tcp" and ref.port in (None, port.number)]
        return cluster_name(service, ports[0]) if ports else ""
