"""Whether the ports that a mesh listens on are free, and who holds those that are not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from meshwright.sidecar.ports import is_free, process_on_port


@dataclass(frozen=True, slots=True)
class ListenPort:
    """A port to listen on, and the setting that chooses it."""

    address: str
    port: int
    setting: str


def port_conflicts(ports: Iterable[ListenPort]) -> list[str]:
    """A line for each port that cannot be bound: the port, its holder if known, and the setting."""
    return [
        f"{item.address}:{item.port}: port in use{process_on_port(item.port)}: "
        f"free it, or change {item.setting}"
        for item in ports
        if item.port and not is_free(item.address, item.port)
    ]
