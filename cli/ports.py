"""Whether the ports that a mesh is to listen on are free, and who has those that are not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sidecar.capture import holder, is_free


@dataclass(frozen=True, slots=True)
class Wanted:
    """A port, and the setting that says so."""

    address: str
    port: int
    setting: str


def taken(wanted: Iterable[Wanted]) -> list[str]:
    """A line for each port that cannot be bound: the port, who has it if that can be found, the setting."""
    return [
        f"{one.address}:{one.port}: port in use{holder(one.port)}: free it, or change {one.setting}"
        for one in wanted
        if one.port and not is_free(one.address, one.port)
    ]
