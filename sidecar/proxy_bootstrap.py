"""The bootstrap of a workload's proxy: from configuration and ports to the inputs of `bootstrap`."""

from __future__ import annotations

from pathlib import Path

from meshwright.control_plane.api.models.instances import ZONE_LABEL
from meshwright.control_plane.api.state_dir import socket_path
from meshwright.control_plane.api.trials import TRIAL_SOCKET
from meshwright.sidecar.addresses import split_host_port
from meshwright.sidecar.bootstrap import AppCluster, BootstrapParams
from meshwright.sidecar.config import AgentConfig, Workload
from meshwright.sidecar.metrics_endpoint import METRICS_SOCKET
from meshwright.sidecar.ports import WorkloadPorts
from meshwright.sidecar.proxy_credential import ProxyCredential


def bootstrap_params(
    workload: Workload,
    config: AgentConfig,
    ports: WorkloadPorts,
    admin_socket: Path,
    credential: ProxyCredential | None = None,
) -> BootstrapParams:
    """Everything that the bootstrap of the workload's proxy depends on."""
    protocols = {port.name: port.protocol for port in workload.ports}
    return BootstrapParams(
        id=workload.name,
        cluster=workload.service,
        trust_domain=config.trust_domain,
        xds=split_host_port(config.addresses.xds, 15012),
        admin_socket=str(admin_socket),
        trial_socket=str(admin_socket.with_name(TRIAL_SOCKET)),
        agent_socket=str(socket_path(config.state, METRICS_SOCKET)),
        app_metrics=_app_metrics(workload),
        bind=config.bind,
        ready_port=ports.ready,
        outbound_port=ports.outbound,
        # Nothing can come in without a port, and Envoy rejects a listener without filter chains.
        inbound_port=ports.inbound if workload.ports or workload.role == "gateway" else 0,
        upstreams=tuple(ports.upstreams.items()),
        gateway_ports=tuple(ports.gateway.items()) if workload.role == "gateway" else None,
        apps=tuple(
            AppCluster(name, protocols[name], port, workload.connect_timeout, workload.app_address)
            for name, port in ports.apps.items()
        ),
        zone=workload.labels.get(ZONE_LABEL, ""),
        otlp=split_host_port(config.addresses.otlp, 4317) if config.addresses.otlp else None,
        collector=split_host_port(config.otlp, 4317) if config.otlp else None,
        spans_port=ports.otlp,
        secret_hash=credential.secret_hash if credential else "",
        outside=workload.outbound or "",
        edge=workload.edge,
        port_option=workload.port_option,
    )


def _app_metrics(workload: Workload) -> tuple[str, str] | None:
    """The name of the app's first HTTP port and the path of its metrics there; None without either."""
    http = next((port.name for port in workload.ports if port.protocol == "http"), None)
    return (http, workload.metrics) if http and workload.metrics else None
