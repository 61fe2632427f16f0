"""What becomes of the fields of a foreign kind: for remarks, and for the tables in the documentation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

METADATA = {
    "apiVersion": "",
    "kind": "",
    "status": "ignored, as `mesh apply` does",
    "metadata.name": "`metadata.name`",
    "metadata.namespace": "ignored: a mesh has one namespace",
}
"""Fields of every document."""


@dataclass(frozen=True, slots=True)
class KindFields:
    """The fields of one kind: what each becomes, and those that become nothing with the reason."""

    converted: Mapping[str, str]
    unsupported: Mapping[str, str]

    def reason(self, path: str) -> str:
        """Why a field, or the nearest one above it, becomes nothing; empty for an unknown field."""
        while path:
            if path in self.unsupported:
                return self.unsupported[path]
            if path in self.converted:
                return "it does nothing beside the other fields here"
            path = path.rpartition(".")[0]
        return ""


def below(prefix: str, fields: Mapping[str, str]) -> dict[str, str]:
    return {f"{prefix}.{name}": text for name, text in fields.items()}
