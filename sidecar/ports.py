"""The ports of a workload: picking free ones, keeping them across restarts, and reporting conflicts.

Ports are picked below the kernel's range for outgoing connections (32768 and up on Linux), so that no
short-lived connection takes one while its owner restarts.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

import psutil

from meshwright.sidecar.addresses import split_address
from meshwright.sidecar.config import Workload

FIRST_PORT, LAST_PORT = 20_000, 32_000

FIRST_UNPRIVILEGED_PORT = 1024
"""Ports below need root, so an upstream with such a port gets another one."""

LOOPBACK = "127.0.0.1"

UPSTREAM_NETWORK = 127 << 24 | 10 << 16
"""127.10.0.0/16: every upstream of every app on this host gets its own address there. Linux listens on all of
127.0.0.0/8 without configuration. macOS has 127.0.0.1 only, and upstreams there differ by port."""


@dataclass(frozen=True, slots=True)
class WorkloadPorts:
    """The ports of one workload: `apps` by port name, `gateway` by listener name.

    `inbound` takes the calls of other sidecars, at a gateway those to hosts outside the mesh.

    `upstreams` maps a TCP service to the `ip:port` where the app reaches it. `otlp` takes the app's spans; 0
    when nothing is traced.
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
        """All ports in use, by the names that status and errors show."""
        sidecar = {
            "outbound": self.outbound,
            "inbound": self.inbound,
            "ready": self.ready,
            "otlp": self.otlp,
        }
        apps = {f"app.{name}": port for name, port in self.apps.items()}
        gateway = {f"gateway.{name}": port for name, port in self.gateway.items()}
        upstreams = {f"upstream.{name}": int(at.rpartition(":")[2]) for name, at in self.upstreams.items()}
        return {name: port for name, port in {**sidecar, **apps, **gateway, **upstreams}.items() if port}


class PortAllocator:
    """Picks free ports, never the same one twice. `offset` in 0..1 separates the agents of one host.

    With `tracing` each service gets a port that takes spans.
    """

    def __init__(self, bind: str, offset: float = 0.0, *, tracing: bool = False) -> None:
        self._bind = bind
        self._tracing = tracing
        self._next = FIRST_PORT + int(offset * (LAST_PORT - FIRST_PORT))
        self._next_address = int(offset * 0xFF00)

    def allocate(self) -> int:
        """A port without a listener. Raises OSError when there is none."""
        for _ in range(LAST_PORT - FIRST_PORT):
            port = self._next
            self._next = FIRST_PORT + (port + 1 - FIRST_PORT) % (LAST_PORT - FIRST_PORT)
            if is_free(self._bind, port) and is_free(LOOPBACK, port):
                return port
        raise OSError(f"no free port between {FIRST_PORT} and {LAST_PORT}: stop a process that listens there")

    def allocate_upstream(self, number: int) -> str:
        """The `ip:port` where an app reaches a TCP service; the port is `number` where possible."""
        for _ in range(256):
            self._next_address = self._next_address % 0xFFFE + 1
            address = str(IPv4Address(UPSTREAM_NETWORK + self._next_address))
            if number and is_free(address, number):
                return f"{address}:{number}"
            # Only agents use this network, so any free port of the host will do, if the address exists.
            if not is_free(address, 0):
                break
            if number < FIRST_UNPRIVILEGED_PORT:
                return f"{address}:{self.allocate()}"
        return f"{LOOPBACK}:{self.allocate()}"

    def allocate_all(self, workload: Workload) -> WorkloadPorts:
        """The workload's ports: the numbers that it configures, and free ones for its zeros."""
        ready = workload.ready_port or self.allocate()
        if workload.role == "gateway":
            gateway = {name: port or self.allocate() for name, port in workload.gateway_ports.items()}
            return WorkloadPorts(ready, inbound=workload.inbound_port or self.allocate(), gateway=gateway)
        return WorkloadPorts(
            ready,
            workload.outbound_port or self.allocate(),
            workload.inbound_port or self.allocate(),
            {port.name: port.app_port or self.allocate() for port in workload.ports},
            upstreams={name: self.allocate_upstream(number) for name, number in workload.upstreams.items()},
            otlp=(workload.otlp_port or self.allocate()) if self._tracing else 0,
        )

    def reallocate(self, workload: Workload, ports: WorkloadPorts) -> WorkloadPorts:
        """`ports`, with new ones for the picked ports that another process has taken since."""

        def keep(configured: int, port: int, host: str = self._bind) -> int:
            return port if configured or is_free(host, port) else self.allocate()

        updated = replace(ports, ready=keep(workload.ready_port, ports.ready))
        if workload.role == "gateway":
            listeners = workload.gateway_ports
            return replace(
                updated,
                inbound=keep(workload.inbound_port, ports.inbound) if ports.inbound else 0,
                gateway={name: keep(listeners[name], port) for name, port in ports.gateway.items()},
            )
        app_ports = {port.name: port.app_port for port in workload.ports}
        return replace(
            updated,
            outbound=keep(workload.outbound_port, ports.outbound, LOOPBACK),
            inbound=keep(workload.inbound_port, ports.inbound),
            apps={name: keep(app_ports[name], port, LOOPBACK) for name, port in ports.apps.items()},
            otlp=keep(workload.otlp_port, ports.otlp, LOOPBACK) if ports.otlp else 0,
            upstreams={
                name: address
                if is_free(*split_address(address))
                else self.allocate_upstream(workload.upstreams[name])
                for name, address in ports.upstreams.items()
            },
        )


def is_free(bind: str, port: int) -> bool:
    """Whether a listener could be opened at `bind`:`port` now."""
    family = socket.AF_INET6 if ":" in bind else socket.AF_INET
    with closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((bind, port))
            # Two sockets with SO_REUSEADDR can both bind, but only one of them can listen.
            probe.listen(1)
        except OSError:
            return False
    return True


def process_on_port(port: int) -> str:
    """The process that listens on `port`, as ` (NAME, pid N)`. Empty when the system does not tell."""
    pid = pid_on_port(port)
    try:
        return f" ({psutil.Process(pid).name()}, pid {pid})" if pid else ""
    except psutil.Error:
        return ""


def pid_on_port(port: int) -> int | None:
    """The ID of the process that listens on `port`; None if none does, 0 if the system does not tell."""
    try:
        connections = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return 0
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
            return connection.pid or 0
    return None


def port_conflict(workload: Workload, ports: WorkloadPorts, bind: str) -> str:
    """Why the workload's proxy cannot open one of its listeners; empty when it can open all."""
    settings = {
        "outbound_port": ports.outbound,
        "inbound_port": ports.inbound,
        "ready_port": ports.ready,
        "otlp port": ports.otlp,
    }
    if not is_free(bind, 0):
        return f"{bind} is not an address of this machine: set --bind or MESH_BIND to one that is"
    settings |= {f"gateway {name}": port for name, port in ports.gateway.items()}
    for setting, port in settings.items():
        if port and not is_free(LOOPBACK if setting in ("outbound_port", "otlp port") else bind, port):
            owner = f"{setting} of {workload.name}"
            return f"port {port} ({owner}) is in use{process_on_port(port)}: free it or choose another"
    for name, address in ports.upstreams.items():
        if not is_free(*split_address(address)):
            process = process_on_port(split_address(address)[1])
            return f"{address} (upstream {name} of {workload.name}) is in use{process}: free it"
    return ""
