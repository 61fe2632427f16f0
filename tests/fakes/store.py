"""An in-memory stand-in for the store's revisions, with its rules: compare-and-set, unbroken numbers."""

from __future__ import annotations

from collections.abc import Sequence

from control_plane.admin.merge import changes
from control_plane.admin.mesh import Revision, Stored
from control_plane.api.types import RevisionInfo
from control_plane.errors import NotFoundError, RevisionConflict, StoreError


class FakeStore:
    """`away` makes every call fail as when the server is gone; `overtake` commits before the next commit."""

    def __init__(self) -> None:
        self.kept = [Revision(RevisionInfo(revision=0, author="", time=0.0))]
        self.away = False
        self.overtake = False

    async def current(self) -> Revision:
        self._check()
        return self.kept[-1]

    async def get(self, number: int) -> Revision:
        self._check()
        if not 0 <= number < len(self.kept):
            raise NotFoundError(f"revision {number}: there is none")
        return self.kept[number]

    async def history(self, limit: int, before: int | None) -> Sequence[RevisionInfo]:
        self._check()
        found = [revision.info for revision in reversed(self.kept[1:])]
        return [info for info in found if before is None or info.revision < before][:limit]

    async def commit(self, base: int, documents: Sequence[Stored], *, author: str, why: str) -> RevisionInfo:
        self._check()
        if self.overtake:
            self.overtake = False
            await self.commit(base, (), author="somebody", why="quicker")
        current = self.kept[-1]
        if base != current.info.revision:
            raise RevisionConflict(base, current.info.revision)
        info = RevisionInfo(
            revision=base + 1,
            author=author,
            time=1_700_000_000.0 + base,
            why=why,
            changed=changes(current.documents, documents),
        )
        self.kept.append(Revision(info, tuple(documents)))
        return info

    def _check(self) -> None:
        if self.away:
            raise StoreError("the store at unix:///nowhere cannot be reached: is it running?")
