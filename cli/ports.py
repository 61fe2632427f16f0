"""Whether the ports that a mesh is to listen on are free, and who has those that are not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from meshwright.sidecar.ports import is_free, process_on_port


@dataclass(frozen=True, slots=True)
class ListenPort:
    """A port, and the setting that says so."""

    address: str
    port: int
    setting: str


def port_conflicts(wanted: Iterable[ListenPort]) -> list[str]:
    """A line for each port that cannot be bound: the port, who has it if that can be found, the setting."""
    return [
        f"{one.address}:{one.port}: port in use{process_on_port(one.port)}: free it, or change {one.setting}"
        for one in wanted
        if one.port and not is_free(one.address, one.port)
    ]
