"""Which root a control plane brings to the store, and whether the mesh in the store knows that root. Pure."""

from __future__ import annotations

from dataclasses import dataclass

ROOT_ID_CHARS = 16
"""Digits of a root's hash that name it, in messages and in MESH_CA_REPLACES: enough to be no accident."""


@dataclass(frozen=True, slots=True)
class RootClaim:
    """The sha256 of a control plane's root, and MESH_CA_REPLACES: the start of the one that it gives up."""

    sha256: str = ""
    replaces: str = ""

    @property
    def replaced_prefix(self) -> str:
        """What the hash of a root has to begin with so that this one may replace it; empty: none may."""
        return self.replaces if len(self.replaces) >= ROOT_ID_CHARS else ""

    def may_replace(self, stored: str) -> bool:
        """Whether the root with the hash `stored` is given up."""
        return bool(self.replaced_prefix) and stored.startswith(self.replaced_prefix)

    def problem(self, stored: str) -> str:
        """Why this root cannot serve a mesh whose root has the hash `stored`; empty if it can."""
        if not self.sha256 or stored in ("", self.sha256) or self.may_replace(stored):
            return ""
        return (
            f"the root certificate (sha256 {self.sha256[:ROOT_ID_CHARS]}) is not the one of this mesh "
            f"({stored[:ROOT_ID_CHARS]}): restore that one, or use another store. {way_out(stored)}"
        )


def way_out(stored: str) -> str:
    """How to go on without the root that has the hash `stored`."""
    return (
        f"To go on with a new root instead, start with MESH_CA_REPLACES={stored[:ROOT_ID_CHARS]}: "
        "every sidecar enrols again, with a new join token"
    )
