"""Commits a change of documents as the next revision, or previews it."""

from __future__ import annotations

from collections.abc import Sequence

from meshwright.control_plane.admin import policy_merge
from meshwright.control_plane.admin.protocols import EditPreview, RevisionLog
from meshwright.control_plane.api.models.policies import ApplyResponse, EditRequest
from meshwright.control_plane.core.revision import PolicyRevision, RevisionDocument
from meshwright.control_plane.errors import RevisionConflictError


class PolicyEditor:
    """Applies edits to the newest revision."""

    def __init__(self, revisions: RevisionLog, preview: EditPreview) -> None:
        self._revisions = revisions
        self._preview = preview

    async def commit(
        self,
        current: PolicyRevision,
        edit: EditRequest,
        after: Sequence[RevisionDocument],
        applied: Sequence[RevisionDocument] = (),
    ) -> ApplyResponse:
        """Make `after` the next revision, unless nothing differs or it is a dry run.

        Raises RevisionConflictError if the edit is based on another revision than `current`.
        """
        number = current.info.revision
        if edit.base is not None and edit.base != number:
            raise RevisionConflictError(edit.base, number)
        before = current.documents
        changed = policy_merge.changes(before, after, [document.key for document in applied])
        if not edit.dry_run and any(change.action != "unchanged" for change in changed):
            info = await self._revisions.commit(number, after, author=edit.author, message=edit.message)
            number = info.revision
        warnings = tuple(self._preview.warnings(plain(applied)))
        response = ApplyResponse(revision=number, changed=changed, warnings=warnings)
        return await self._with_preview(response, before, after) if edit.dry_run else response

    async def _with_preview(
        self,
        response: ApplyResponse,
        before: Sequence[RevisionDocument],
        after: Sequence[RevisionDocument],
    ) -> ApplyResponse:
        document_diff, affected = await self._preview.dry_run(plain(before), plain(after))
        return response.model_copy(update={"document_diff": document_diff, "affected_proxies": affected})


def plain(documents: Sequence[RevisionDocument]) -> list[dict[str, object]]:
    """The documents without their sources."""
    return [dict(document.document) for document in documents]
