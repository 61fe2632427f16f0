"""Revisions: numbered, immutable sets of policy documents, and the history of their changes."""

from __future__ import annotations

from typing import Any, Literal

from meshwright.control_plane.api.models.base import ApiModel


class DocumentChange(ApiModel):
    """What a revision did to one document."""

    kind: str
    name: str
    action: Literal["created", "changed", "deleted", "unchanged"]


class RevisionInfo(ApiModel):
    """One entry of the history. `time`: epoch seconds, by the store's clock."""

    revision: int
    author: str
    time: float
    message: str = ""
    changed: tuple[DocumentChange, ...] = ()


class RevisionDetail(ApiModel):
    """One revision: its entry in the history, and all documents of the mesh at that revision."""

    info: RevisionInfo
    documents: tuple[dict[str, Any], ...] = ()


class RevisionList(ApiModel):
    """Revisions, newest first."""

    revisions: tuple[RevisionInfo, ...] = ()
