"""How an app's calls get into its sidecar without its knowing: ports of its own, and proxy settings.

Ports are allotted below the range from which the kernel takes ports for outgoing connections (32768 on
Linux), so that no passing connection holds one while its owner restarts.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

import psutil

from meshwright.control_plane.api.models.base import LabelValue
from meshwright.sidecar.config import Workload

FIRST_PORT, LAST_PORT = 20_000, 32_000

FIRST_UNPRIVILEGED_PORT = 1024
"""Ports below are for root, so an upstream that has one is found at another."""

LOOPBACK = "127.0.0.1"

UPSTREAM_NETWORK = 127 << 24 | 10 << 16
"""127.10.0.0/16: each upstream of each app on this host has an address of its own there. Linux listens on all
of 127.0.0.0/8 without being told; macOS has 127.0.0.1 only, and there a port tells upstreams apart."""

NO_PROXY = "localhost,127.0.0.1,::1"


@dataclass(frozen=True, slots=True)
class WorkloadPorts:
    """The real ports of one workload; `apps` by port name, `gateway` by listener name.

    `upstreams` are by service, each the `ip:port` at which the app finds it. `otlp` takes the app's spans; 0:
    nobody wants them.
    """

    ready: int
    outbound: int = 0
    inbound: int = 0
    apps: Mapping[str, int] = field(default_factory=dict)
    gateway: Mapping[str, int] = field(default_factory=dict)
    upstreams: Mapping[str, str] = field(default_factory=dict)
    otlp: int = 0

    @property
    def by_name(self) -> dict[str, int]:
        """All of them under the names that status and errors use."""
        own = {"outbound": self.outbound, "inbound": self.inbound, "ready": self.ready, "otlp": self.otlp}
        apps = {f"app.{name}": port for name, port in self.apps.items()}
        gateway = {f"gateway.{name}": port for name, port in self.gateway.items()}
        upstreams = {f"upstream.{name}": int(at.rpartition(":")[2]) for name, at in self.upstreams.items()}
        return {name: port for name, port in {**own, **apps, **gateway, **upstreams}.items() if port}


class PortAllocator:
    """Hands out free ports, never the same one twice. `start` in 0..1 spreads agents of one host.

    `traced`: somebody wants spans, so each service gets a port that takes them.
    """

    def __init__(self, bind: str, offset: float = 0.0, *, tracing: bool = False) -> None:
        self._bind = bind
        self._traced = tracing
        self._next = FIRST_PORT + int(offset * (LAST_PORT - FIRST_PORT))
        self._next_address = int(offset * 0xFF00)

    def allocate(self) -> int:
        """A port that nobody listens on; raises OSError when there is none left."""
        for _ in range(LAST_PORT - FIRST_PORT):
            port = self._next
            self._next = FIRST_PORT + (port + 1 - FIRST_PORT) % (LAST_PORT - FIRST_PORT)
            if is_free(self._bind, port) and is_free(LOOPBACK, port):
                return port
        raise OSError(f"no free port between {FIRST_PORT} and {LAST_PORT}: stop something that listens there")

    def allocate_upstream(self, number: int) -> str:
        """`ip:port` where an app finds a TCP service: the port is `number` wherever that can be."""
        for _ in range(256):
            self._next_address = self._next_address % 0xFFFE + 1
            address = str(IPv4Address(UPSTREAM_NETWORK + self._next_address))
            if number and is_free(address, number):
                return f"{address}:{number}"
            # Nobody else allots here, so a free port of this host will do, unless there is no such address.
            if not is_free(address, 0):
                break
            if number < FIRST_UNPRIVILEGED_PORT:
                return f"{address}:{self.allocate()}"
        return f"{LOOPBACK}:{self.allocate()}"

    def allocate_all(self, workload: Workload) -> WorkloadPorts:
        """Ports for `workload`: those it names, and free ones for its zeros."""
        ready = workload.ready_port or self.allocate()
        if workload.role == "gateway":
            gateway = {name: port or self.allocate() for name, port in workload.gateway_ports.items()}
            return WorkloadPorts(ready, gateway=gateway)
        return WorkloadPorts(
            ready,
            workload.outbound_port or self.allocate(),
            workload.inbound_port or self.allocate(),
            {port.name: port.app_port or self.allocate() for port in workload.ports},
            upstreams={name: self.allocate_upstream(number) for name, number in workload.upstreams.items()},
            otlp=(workload.otlp_port or self.allocate()) if self._traced else 0,
        )

    def reallocate(self, workload: Workload, ports: WorkloadPorts) -> WorkloadPorts:
        """`ports` with new ones in the place of those allotted ones that somebody else took meanwhile."""

        def keep(asked: int, had: int, where: str = self._bind) -> int:
            return had if asked or is_free(where, had) else self.allocate()

        fresh = replace(ports, ready=keep(workload.ready_port, ports.ready))
        if workload.role == "gateway":
            asked = workload.gateway_ports
            return replace(
                fresh, gateway={name: keep(asked[name], had) for name, had in ports.gateway.items()}
            )
        wanted = {port.name: port.app_port for port in workload.ports}
        return replace(
            fresh,
            outbound=keep(workload.outbound_port, ports.outbound, LOOPBACK),
            inbound=keep(workload.inbound_port, ports.inbound),
            apps={name: keep(wanted[name], had, LOOPBACK) for name, had in ports.apps.items()},
            otlp=keep(workload.otlp_port, ports.otlp, LOOPBACK) if ports.otlp else 0,
            upstreams={
                name: had
                if is_free(*split_address(had))
                else self.allocate_upstream(workload.upstreams[name])
                for name, had in ports.upstreams.items()
            },
        )


def format_address(host: str, port: int) -> str:
    """`host:port`, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_address(address: str) -> tuple[str, int]:
    """`ip:port` as its two parts."""
    host, _, port = address.rpartition(":")
    return host, int(port)


def is_free(bind: str, port: int) -> bool:
    """Whether a listener could be opened at `bind`:`port` now."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
            # Two sockets with SO_REUSEADDR may both be bound; only one of them may listen.
            probe.listen(1)
        except OSError:
            return False
    return True


def process_on_port(port: int) -> str:
    """Who listens on `port`, as ` (NAME, pid N)`; empty when the system does not tell."""
    try:
        found = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return ""
    for connection in found:
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
            try:
                return f" ({psutil.Process(connection.pid).name()}, pid {connection.pid})"
            except psutil.Error:
                return ""
    return ""


def port_conflict(workload: Workload, ports: WorkloadPorts, bind: str) -> str:
    """Why the proxy of `workload` cannot listen where it was told to; empty when it can."""
    named = {"outbound_port": ports.outbound, "inbound_port": ports.inbound, "ready_port": ports.ready}
    named["otlp port"] = ports.otlp
    if not is_free(bind, 0):
        return f"{bind} is no address of this machine: give --bind or MESH_BIND one that is"
    named |= {f"gateway {name}": port for name, port in ports.gateway.items()}
    for setting, port in named.items():
        if port and not is_free(LOOPBACK if setting in ("outbound_port", "otlp port") else bind, port):
            where = f"{setting} of {workload.name}"
            return f"port {port} ({where}) is in use{process_on_port(port)}: free it or choose another"
    for name, at in ports.upstreams.items():
        if not is_free(*split_address(at)):
            port = split_address(at)[1]
            return f"{at} (upstream {name} of {workload.name}) is in use{process_on_port(port)}: free it"
    return ""


def app_environment(
    base: Mapping[str, str], path_prefix: str, workload: Workload, ports: WorkloadPorts
) -> dict[str, LabelValue]:
    """The app's environment: `base` without the mesh's own settings, how to call others, and who it is.

    `path_first` is the folder of mesh's own interpreter, put before PATH; empty leaves PATH as it is.
    Settings of the workload win.
    """
    kept = {
        name: value
        for name, value in base.items()
        if not name.startswith("MESH_") or name == "MESH_TRACES_EXPORTER"
    }
    proxy = f"http://{LOOPBACK}:{ports.outbound}"
    path = kept.get("PATH", "/usr/local/bin:/usr/bin:/bin")
    kept["PATH"] = f"{path_prefix}:{path}" if path_prefix else path
    for name, value in (("http_proxy", proxy), ("grpc_proxy", proxy), ("no_proxy", NO_PROXY)):
        kept[name] = kept[name.upper()] = value
    kept["NODE_USE_ENV_PROXY"] = "1"  # Node.js 24 and newer read the proxy settings only then
    kept |= _telemetry(workload, ports.otlp)
    kept |= {"SERVICE_NAME": workload.service, "INSTANCE": workload.name}
    kept["SERVICE_VERSION"] = workload.labels.get("version", "")
    for port in reversed(workload.ports):
        kept["PORT"] = str(ports.apps[port.name])
        kept[f"PORT_{port.name.upper().replace('-', '_')}"] = kept["PORT"]
    for name, at in ports.upstreams.items():
        kept[f"{re.sub('[-:]', '_', name).upper()}_ADDRESS"] = at
    main = next((port.name for port in workload.ports if port.protocol == "http"), None)
    if main is not None:
        kept["PORT"] = str(ports.apps[main])
    return kept | workload.env


def _telemetry(workload: Workload, port: int) -> dict[str, str]:
    """What OpenTelemetry's SDKs read: who the app is, and where spans go, a `port` of its own sidecar."""
    attributes = {"service.instance.id": workload.name, "service.version": workload.labels.get("version", "")}
    named = ",".join(f"{key}={value}" for key, value in attributes.items() if value)
    who = {"OTEL_SERVICE_NAME": workload.service, "OTEL_RESOURCE_ATTRIBUTES": named}
    if not port:
        return who
    endpoint = f"http://{LOOPBACK}:{port}"
    where = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    return {**who, **where, "OTEL_PROPAGATORS": "tracecontext,baggage"}
