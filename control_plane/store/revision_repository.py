"""The store's revisions in the form in which the admin API reads and commits them."""

from __future__ import annotations

from collections.abc import Sequence

from meshwright.control_plane.admin.context import PolicyRevision, RevisionDocument
from meshwright.control_plane.api.models.base import RevisionInfo
from meshwright.control_plane.store.revisions import StoredDocument
from meshwright.control_plane.store.revisions import StoredRevision as StoredRevision
from meshwright.control_plane.store.store import Store


class RevisionRepository:
    """The admin API's `Revisions` over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def current(self) -> PolicyRevision:
        """The newest revision; raises StoreError."""
        return _to_admin(await self._store.current())

    async def get(self, number: int) -> PolicyRevision:
        """A revision; raises NotFoundError, StoreError."""
        return _to_admin(await self._store.get(number))

    async def history(self, limit: int, before: int | None) -> Sequence[RevisionInfo]:
        """At most `limit` revisions below `before`, newest first; raises StoreError."""
        return await self._store.history(limit, before)

    async def commit(
        self, base: int, documents: Sequence[RevisionDocument], *, author: str, why: str
    ) -> RevisionInfo:
        """Make `documents` the next revision; raises RevisionConflict, InputError, StoreError."""
        written = {"/".join(one.key): _to_stored(one) for one in documents}
        return (await self._store.commit(base, written, author, why)).info


def _to_admin(revision: StoredRevision) -> PolicyRevision:
    return PolicyRevision(
        revision.info,
        tuple(RevisionDocument(one.body, one.source, one.created) for one in revision.documents.values()),
    )


def _to_stored(stored: RevisionDocument) -> StoredDocument:
    return StoredDocument(StoredDocument.from_body(stored.document).text, stored.source, stored.created)
