"""Commits a change of documents as the next revision, or previews it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from meshwright.control_plane.admin import policy_merge
from meshwright.control_plane.admin.policy_verdict import check_verdict
from meshwright.control_plane.admin.protocols import EditPreview, RevisionLog, Verify, unverified
from meshwright.control_plane.api.models.policies import ApplyResponse, EditRequest
from meshwright.control_plane.core.revision import PolicyRevision, RevisionDocument
from meshwright.control_plane.errors import RevisionConflictError
from meshwright.control_plane.policies.secret_source import redacted

COMMIT_ATTEMPTS = 20
"""How often an edit without a base is tried while others commit: each time one of them has succeeded."""

Change = Callable[[Sequence[RevisionDocument]], Sequence[RevisionDocument]]
"""The documents after an edit, from those before."""


class PolicyEditor:
    """Applies edits to the newest revision."""

    def __init__(self, revisions: RevisionLog, preview: EditPreview, verify: Verify = unverified) -> None:
        self._revisions = revisions
        self._preview = preview
        self._verify = verify

    async def commit_to_newest(
        self, edit: EditRequest, change: Change, applied: Sequence[RevisionDocument] = ()
    ) -> ApplyResponse:
        """Commit what `change` makes of the newest revision's documents.

        An edit without a base is about its own documents only: if somebody commits in the meantime, it is
        made again on top of that. Raises RevisionConflictError for one with a base, or after many attempts.
        """
        for _ in range(COMMIT_ATTEMPTS - 1):
            current = await self._revisions.current()
            try:
                return await self.commit(current, edit, change(current.documents), applied)
            except RevisionConflictError:
                if edit.base is not None:
                    raise
        current = await self._revisions.current()
        return await self.commit(current, edit, change(current.documents), applied)

    async def commit(
        self,
        current: PolicyRevision,
        edit: EditRequest,
        after: Sequence[RevisionDocument],
        applied: Sequence[RevisionDocument] = (),
    ) -> ApplyResponse:
        """Make `after` the next revision, unless nothing differs or it is a dry run.

        Raises RevisionConflictError if the edit is based on another revision than `current`, and
        DocumentsError if an Envoy rejects what the documents make.
        """
        number, on_trial = current.info.revision, False
        if edit.base is not None and edit.base != number:
            raise RevisionConflictError(edit.base, number)
        before = current.documents
        changed = policy_merge.changes(before, after, [document.key for document in applied])
        is_change = any(change.action != "unchanged" for change in changed)
        missed = await self.verify(before, after) if is_change and edit.verify else ()
        if is_change and not edit.dry_run:
            info = await self._revisions.commit(
                number, after, author=edit.author, message=edit.message, immediate=edit.immediate
            )
            number, on_trial = info.revision, info.on_trial
        warnings = (*self._preview.warnings(plain(applied)), *missed)
        response = ApplyResponse(revision=number, changed=changed, warnings=warnings, on_trial=on_trial)
        return await self._with_preview(response, before, after) if edit.dry_run else response

    async def verify(
        self, before: Sequence[RevisionDocument], after: Sequence[RevisionDocument]
    ) -> tuple[str, ...]:
        """Warnings about what no Envoy has checked; raises DocumentsError if one rejects the change."""
        verdict = await self._verify(plain(before), plain(after))
        check_verdict(verdict, before, after)
        return (verdict.unverified,) if verdict.unverified else ()

    async def _with_preview(
        self,
        response: ApplyResponse,
        before: Sequence[RevisionDocument],
        after: Sequence[RevisionDocument],
    ) -> ApplyResponse:
        document_diff, affected = await self._preview.dry_run(plain(before), plain(after))
        return response.model_copy(update={"document_diff": document_diff, "affected_proxies": affected})


def shown(documents: Sequence[RevisionDocument]) -> list[dict[str, object]]:
    """The documents as anybody may read them, without their secrets."""
    return [redacted(document.document) for document in documents]


def plain(documents: Sequence[RevisionDocument]) -> list[dict[str, object]]:
    """The documents without their sources."""
    return [dict(document.document) for document in documents]


def sources(documents: Sequence[RevisionDocument]) -> dict[str, str]:
    """Where each document was applied from, by `Kind/name`: `path:line`, empty if unknown."""
    return {"/".join(document.key): document.source for document in documents}
