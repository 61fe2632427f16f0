"""What the protocol asks of a configuration; `meshwright.control_plane.core.snapshot.NodeSnapshot` is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from meshwright.control_plane.core.resource import Resource


class NodeConfig(Protocol):
    """What one node is entitled to, at one revision."""

    @property
    def revision(self) -> int:
        """The world's revision that this was translated from."""

    def get(self, type_url: str, name: str) -> Resource | None:
        """A resource by name or (VHDS) alias; None when this node may not know it.

        For EDS this is None exactly when `name` is no cluster that takes its endpoints from EDS.
        """

    def base(self, type_url: str) -> Mapping[str, Resource]:
        """What a wildcard subscription always gets, whether asked for by name or not."""
