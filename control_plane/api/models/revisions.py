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
    """One entry of the history. `time`: epoch seconds, by the store's clock.

    `on_trial`: it is being pushed in waves, or part of the one that is. `withdrawn`: why its push ended
    without putting it in force.
    """

    revision: int
    author: str
    time: float
    message: str = ""
    changed: tuple[DocumentChange, ...] = ()
    on_trial: bool = False
    withdrawn: str = ""


class RevisionDetail(ApiModel):
    """One revision: its entry in the history, and all documents of the mesh at that revision."""

    info: RevisionInfo
    documents: tuple[dict[str, Any], ...] = ()


class RevisionList(ApiModel):
    """Revisions, newest first."""

    revisions: tuple[RevisionInfo, ...] = ()
