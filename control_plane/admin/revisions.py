"""Routes of the revisions: history, one revision whole, rollback."""

from __future__ import annotations

from pydantic import Field

from control_plane.admin import merge
from control_plane.admin.mesh import Mesh
from control_plane.admin.policies import commit, plain
from control_plane.admin.routes import PathAndQuery, Route
from control_plane.api.messages import AppliedReply, History, RevisionReply, RollbackRequest

HISTORY_LIMIT = 1000
"""Revisions one answer may hold."""


class HistoryParams(PathAndQuery):
    limit: int = Field(50, ge=1, le=HISTORY_LIMIT, description="At most so many.")
    before: int | None = Field(None, ge=0, le=2**53, description="Only revisions below this one.")


class RevisionParams(PathAndQuery):
    revision: int = Field(ge=0, le=2**53)


async def history(mesh: Mesh, params: HistoryParams, _body: object) -> History:
    """Who changed what when and why, newest first."""
    return History(revisions=tuple(await mesh.revisions.history(params.limit, params.before)))


async def show(mesh: Mesh, params: RevisionParams, _body: object) -> RevisionReply:
    """One revision: its entry in the history and all documents that stood after it."""
    found = await mesh.revisions.get(params.revision)
    return RevisionReply(info=found.info, documents=tuple(plain(found.documents)))


async def rollback(mesh: Mesh, params: RevisionParams, body: RollbackRequest) -> AppliedReply:
    """The documents of a revision as a new revision; nothing happens when they stand already."""
    current = await mesh.revisions.current()
    wanted = await mesh.revisions.get(params.revision)
    why = body.why or f"rollback to revision {params.revision}"
    edit = body.model_copy(update={"why": why})
    return await commit(mesh, current, edit, merge.merge((), wanted.documents))


ROUTES = (
    Route(
        "GET", "/revisions", "history", "Who changed what, newest first", history, History,
        params=HistoryParams, errors=(503,), shows=True,
    ),
    Route(
        "GET", "/revisions/{revision}", "revision", "One revision whole", show, RevisionReply,
        params=RevisionParams, errors=(404, 503), shows=True,
    ),
    Route(
        "POST", "/revisions/{revision}/rollback", "rollback", "Its documents as a new revision", rollback,
        AppliedReply, params=RevisionParams, body=RollbackRequest, errors=(404, 409, 503),
    ),
)  # fmt: skip
