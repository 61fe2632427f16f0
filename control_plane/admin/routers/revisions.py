"""Routes of the revisions: history, one revision whole, rollback."""

from __future__ import annotations

from pydantic import Field

from meshwright.control_plane.admin import policy_merge
from meshwright.control_plane.admin.context import AdminContext
from meshwright.control_plane.admin.route import RequestParams, Route
from meshwright.control_plane.admin.routers.policies import commit, plain
from meshwright.control_plane.api.models.policies import ApplyResponse, RollbackRequest
from meshwright.control_plane.api.models.revisions import RevisionDetail, RevisionList

HISTORY_LIMIT = 1000
"""Revisions one answer may hold."""


class HistoryParams(RequestParams):
    limit: int = Field(50, ge=1, le=HISTORY_LIMIT, description="At most so many.")
    before: int | None = Field(None, ge=0, le=2**53, description="Only revisions below this one.")


class RevisionParams(RequestParams):
    revision: int = Field(ge=0, le=2**53)


async def history(mesh: AdminContext, params: HistoryParams, _body: object) -> RevisionList:
    """Who changed what when and why, newest first."""
    return RevisionList(revisions=tuple(await mesh.revisions.history(params.limit, params.before)))


async def show(mesh: AdminContext, params: RevisionParams, _body: object) -> RevisionDetail:
    """One revision: its entry in the history and all documents that stood after it."""
    found = await mesh.revisions.get(params.revision)
    return RevisionDetail(info=found.info, documents=tuple(plain(found.documents)))


async def rollback(mesh: AdminContext, params: RevisionParams, body: RollbackRequest) -> ApplyResponse:
    """The documents of a revision as a new revision; nothing happens when they stand already."""
    current = await mesh.revisions.current()
    wanted = await mesh.revisions.get(params.revision)
    why = body.message or f"rollback to revision {params.revision}"
    edit = body.model_copy(update={"message": why})
    return await commit(mesh, current, edit, policy_merge.merge((), wanted.documents))


ROUTES = (
    Route(
        "GET", "/revisions", "history", "Who changed what, newest first", history, RevisionList,
        params=HistoryParams, errors=(503,), read_only=True,
    ),
    Route(
        "GET", "/revisions/{revision}", "revision", "One revision whole", show, RevisionDetail,
        params=RevisionParams, errors=(404, 503), read_only=True,
    ),
    Route(
        "POST", "/revisions/{revision}/rollback", "rollback", "Its documents as a new revision", rollback,
        ApplyResponse, params=RevisionParams, body=RollbackRequest, errors=(404, 409, 503),
    ),
)  # fmt: skip
