"""The inputs of a bootstrap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AppCluster:
    """Where the app listens for one of the service's ports. `connect_timeout` is in seconds."""

    name: str
    protocol: Literal["http", "grpc", "tcp"]
    port: int
    connect_timeout: float
    address: str = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class BootstrapParams:
    """Everything that a bootstrap depends on. `cluster` is the name of the service or gateway.

    `gateway_ports` are (listener name, port), None for the sidecar of a service, which has `outbound_port`
    and `inbound_port` instead. `zone` is the locality, empty if unknown.
    `otlp` is the control plane's address for metrics and spans; None if it takes none. `collector` takes the
    spans instead, without TLS. Without both nothing is traced. The app sends its own spans to `spans_port` on
    loopback; 0 for no such port.
    `upstreams` are (TCP service, `ip:port` where the app reaches it). `agent_socket` serves the agent's
    metrics and answers the checks that Envoy sends to its own `trial_socket`. `app_metrics` is the (port
    name, path) of the app's metrics. `secret_hash` is the hash of the credential that callers of the outbound
    port need; empty: none. `outside` is the workload's `outbound`, `edge` and
    `port_option` are its own.
    """

    id: str
    cluster: str
    trust_domain: str
    xds: tuple[str, int]
    admin_socket: str
    bind: str
    ready_port: int
    outbound_port: int = 0
    inbound_port: int = 0
    gateway_ports: tuple[tuple[str, int], ...] | None = None
    apps: tuple[AppCluster, ...] = ()
    zone: str = ""
    otlp: tuple[str, int] | None = None
    collector: tuple[str, int] | None = None
    spans_port: int = 0
    upstreams: tuple[tuple[str, str], ...] = ()
    agent_socket: str = ""
    trial_socket: str = ""
    app_metrics: tuple[str, str] | None = None
    secret_hash: str = ""
    outside: Literal["", "allow", "deny"] = ""
    edge: str = ""
    port_option: str = ""

    @property
    def tracing(self) -> bool:
        """Whether spans have a destination."""
        return bool(self.otlp or self.collector)
