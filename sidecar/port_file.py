"""The ports of a workload in a file beside its bootstrap: an agent that adopts its processes keeps them."""

from __future__ import annotations

from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from meshwright.sidecar.config import Workload
from meshwright.sidecar.files import write_private
from meshwright.sidecar.ports import WorkloadPorts

PORTS_FILE = "ports.json"

_PORTS = TypeAdapter(WorkloadPorts)


def save_ports(folder: Path, ports: WorkloadPorts) -> None:
    """Remember the ports, before anything starts that uses them. Raises OSError."""
    write_private(folder / PORTS_FILE, _PORTS.dump_json(ports))


def dump_ports(ports: WorkloadPorts) -> str:
    """The ports as text, the same for equal ports."""
    return _PORTS.dump_json(ports, exclude_defaults=True).decode()


def load_ports(folder: Path, workload: Workload, *, tracing: bool) -> WorkloadPorts | None:
    """The ports with which the workload ran; None if there are none, or they do not fit its settings."""
    try:
        ports = _PORTS.validate_json((folder / PORTS_FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    return ports if _fit(ports, workload, tracing=tracing) else None


def _fit(ports: WorkloadPorts, workload: Workload, *, tracing: bool) -> bool:
    """Whether every configured number is in use, and every port that the workload needs is there."""
    configured = [(workload.ready_port, ports.ready)]
    if workload.role == "gateway":
        if ports.gateway.keys() != workload.gateway_ports.keys():
            return False
        configured += [(number, ports.gateway[name]) for name, number in workload.gateway_ports.items()]
        # Gateways that an older agent started have no such port until they start again.
        configured += [(workload.inbound_port, ports.inbound)] if ports.inbound else []
    else:
        apps = {port.name: port.app_port for port in workload.ports}
        if ports.apps.keys() != apps.keys() or ports.upstreams.keys() != workload.upstreams.keys():
            return False
        configured += [(workload.outbound_port, ports.outbound), (workload.inbound_port, ports.inbound)]
        configured += [(number, ports.apps[name]) for name, number in apps.items()]
        configured += [(workload.otlp_port, ports.otlp)] if tracing else []
        if tracing != bool(ports.otlp):
            return False
    return all(used and number in (0, used) for number, used in configured)
