"""The store's revisions in the form in which the admin API reads and commits them."""

from __future__ import annotations

from collections.abc import Sequence

from control_plane.admin.mesh import Revision, Stored
from control_plane.api.types import RevisionInfo
from control_plane.store.redis import Store
from control_plane.store.revisions import Document
from control_plane.store.revisions import Revision as StoredRevision


class StoredRevisions:
    """The admin API's `Revisions` over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def current(self) -> Revision:
        """The newest revision; raises StoreError."""
        return _read(await self._store.current())

    async def get(self, number: int) -> Revision:
        """A revision; raises NotFoundError, StoreError."""
        return _read(await self._store.get(number))

    async def history(self, limit: int, before: int | None) -> Sequence[RevisionInfo]:
        """At most `limit` revisions below `before`, newest first; raises StoreError."""
        return await self._store.history(limit, before)

    async def commit(self, base: int, documents: Sequence[Stored], *, author: str, why: str) -> RevisionInfo:
        """Make `documents` the next revision; raises RevisionConflict, InputError, StoreError."""
        written = {"/".join(one.key): _document(one) for one in documents}
        return (await self._store.commit(base, written, author, why)).info


def _read(revision: StoredRevision) -> Revision:
    return Revision(
        revision.info,
        tuple(Stored(one.body, one.source, one.created) for one in revision.documents.values()),
    )


def _document(stored: Stored) -> Document:
    return Document(Document.of(stored.document).text, stored.source, stored.created)
