"""Routes of revisions: history, one revision with its documents, rollback."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from pydantic import Field

from meshwright.control_plane.admin import policy_merge
from meshwright.control_plane.admin.policy_editor import PolicyEditor, shown
from meshwright.control_plane.admin.policy_validation import NONE_DENIED, check_allowed, check_gateway_names
from meshwright.control_plane.admin.protocols import EditPreview, RevisionLog, Verify, unverified
from meshwright.control_plane.admin.route import NoBody, RequestParams, Route
from meshwright.control_plane.api.models.policies import ApplyResponse, RollbackRequest
from meshwright.control_plane.api.models.revisions import RevisionDetail, RevisionList
from meshwright.control_plane.policies.rollout.progress import restored

HISTORY_LIMIT = 1000
"""Revisions in one response."""


class HistoryParams(RequestParams):
    limit: int = Field(50, ge=1, le=HISTORY_LIMIT, description="Maximum number of revisions.")
    before: int | None = Field(None, ge=0, le=2**53, description="Only revisions older than this one.")


class RevisionParams(RequestParams):
    revision: int = Field(ge=1, le=2**53)


class RollbackParams(RequestParams):
    revision: int = Field(ge=0, le=2**53, description="0: the mesh before its first policy.")


class RevisionsRouter:
    """`/revisions` and the routes below it."""

    def __init__(
        self,
        revisions: RevisionLog,
        preview: EditPreview,
        denied_kinds: Mapping[str, str] = NONE_DENIED,
        verify: Verify = unverified,
    ) -> None:
        """`denied_kinds`: why the mesh takes no document of a kind."""
        self._denied_kinds = denied_kinds
        self._revisions = revisions
        self._preview = preview
        self._editor = PolicyEditor(revisions, preview, verify)

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (
            Route(
                "GET", "/revisions", "history", "History of the policies", self.history, RevisionList,
                params=HistoryParams, errors=(503,), read_only=True,
            ),
            Route(
                "GET", "/revisions/{revision}", "revision", "One revision with its documents", self.revision,
                RevisionDetail, params=RevisionParams, errors=(404, 503), read_only=True,
            ),
            Route(
                "POST", "/revisions/{revision}/rollback", "rollback", "Roll back to a revision",
                self.rollback, ApplyResponse, params=RollbackParams, body=RollbackRequest,
                errors=(404, 409, 422, 503), computes=True,
            ),
        )  # fmt: skip

    async def history(self, params: HistoryParams, _body: NoBody) -> RevisionList:
        """Revisions with author, time, message and changes, newest first."""
        return RevisionList(revisions=tuple(await self._revisions.history(params.limit, params.before)))

    async def revision(self, params: RevisionParams, _body: NoBody) -> RevisionDetail:
        """One revision: its entry in the history and all documents of the mesh at that revision."""
        revision = await self._revisions.get(params.revision)
        (info,) = await self._revisions.history(1, params.revision + 1)
        return RevisionDetail(info=info, documents=tuple(shown(revision.documents)))

    async def rollback(self, params: RollbackParams, body: RollbackRequest) -> ApplyResponse:
        """Commit the documents of a revision as a new one; nothing happens if they are current already.

        One that was in force is known to work, and whoever undoes a change is in a hurry: all proxies get it
        at once. One that was withdrawn, or has not passed its trial, is pushed in waves.
        Raises DocumentsError if one of a denied kind would return, or a Gateway named like a service.
        """
        current = await self._revisions.current()
        target = await self._revisions.get(params.revision)
        present = {document.key: document.document for document in current.documents}
        documents = [
            replace(item, document=restored(item.document, present, time.time())) for item in target.documents
        ]
        returning = [item for item in documents if present.get(item.key) != item.document]
        check_allowed(returning, self._denied_kinds)
        check_gateway_names(returning, self._preview.service_names())
        message = body.message or f"rollback to revision {params.revision}"
        immediate = body.immediate or await self._was_in_force(params.revision)
        edit = body.model_copy(update={"message": message, "immediate": immediate})
        return await self._editor.commit(current, edit, policy_merge.merge((), documents))

    async def _was_in_force(self, revision: int) -> bool:
        entries = await self._revisions.history(1, revision + 1)
        return not any(entry.on_trial or entry.withdrawn for entry in entries)
