"""One revision of the mesh's policies as plain documents: what the admin API edits and the store commits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from meshwright.control_plane.api.models.revisions import RevisionInfo

CanonicalDocument = Mapping[str, Any]
"""A validated document as plain JSON: apiVersion, kind, metadata, spec."""


@dataclass(frozen=True, slots=True)
class RevisionDocument:
    """A document of a revision.

    `source` is the `path:line` it was applied from, `created` the revision since which it has existed.
    """

    document: CanonicalDocument
    source: str = ""
    created: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """Kind and name."""
        return str(self.document["kind"]), str(self.document["metadata"]["name"])


@dataclass(frozen=True, slots=True)
class PolicyRevision:
    """One revision with its documents, sorted by kind, then name."""

    info: RevisionInfo
    documents: tuple[RevisionDocument, ...] = ()
