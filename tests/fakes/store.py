"""The store's revisions in memory, with its rules: compare-and-set, consecutive numbers."""

from __future__ import annotations

from collections.abc import Sequence

from meshwright.control_plane.admin.policy_merge import changes
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.core.revision import PolicyRevision, RevisionDocument
from meshwright.control_plane.errors import NotFoundError, RevisionConflictError, StoreError


class FakeStore:
    """With `unavailable` every call raises StoreError; `conflict_next` makes the next commit a conflict.

    With `staged` a revision is on trial, and stays so, unless the change is immediate.
    """

    def __init__(self) -> None:
        self.revisions = [PolicyRevision(RevisionInfo(revision=0, author="", time=0.0))]
        self.unavailable = False
        self.conflict_next = False
        self.staged = False

    async def current(self) -> PolicyRevision:
        self._check()
        return self.revisions[-1]

    async def get(self, number: int) -> PolicyRevision:
        self._check()
        if not 0 <= number < len(self.revisions):
            raise NotFoundError(f"revision {number}: not found")
        return self.revisions[number]

    async def history(self, limit: int, before: int | None) -> Sequence[RevisionInfo]:
        self._check()
        infos = [revision.info for revision in reversed(self.revisions[1:])]
        return [info for info in infos if before is None or info.revision < before][:limit]

    async def commit(
        self,
        base: int,
        documents: Sequence[RevisionDocument],
        *,
        author: str,
        message: str,
        immediate: bool = False,
    ) -> RevisionInfo:
        self._check()
        if self.conflict_next:
            self.conflict_next = False
            await self.commit(base, (), author="somebody", message="quicker")
        current = self.revisions[-1]
        if base != current.info.revision:
            raise RevisionConflictError(base, current.info.revision)
        info = RevisionInfo(
            revision=base + 1,
            author=author,
            time=1_700_000_000.0 + base,
            message=message,
            changed=changes(current.documents, documents),
            on_trial=self.staged and not immediate and base > 0,
        )
        self.revisions.append(PolicyRevision(info, tuple(documents)))
        return info

    def _check(self) -> None:
        if self.unavailable:
            raise StoreError("the store at unix:///nowhere cannot be reached: is it running?")
