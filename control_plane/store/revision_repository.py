"""The store's revisions as policy documents, for the admin API."""

from __future__ import annotations

from collections.abc import Sequence

from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.core.revision import PolicyRevision, RevisionDocument
from meshwright.control_plane.store.revisions import StoredDocument, StoredRevision
from meshwright.control_plane.store.store import Store


class RevisionRepository:
    """Reads and commits revisions."""

    def __init__(self, store: Store, *, staged: bool = False) -> None:
        """`staged`: a revision is on trial until its push ends, unless a change asks for the contrary."""
        self._store = store
        self._staged = staged

    async def current(self) -> PolicyRevision:
        """The newest revision; raises StoreError."""
        return _to_policy_revision(await self._store.current())

    async def get(self, number: int) -> PolicyRevision:
        """A revision; raises NotFoundError, StoreError."""
        return _to_policy_revision(await self._store.get(number))

    async def history(self, limit: int, before: int | None) -> Sequence[RevisionInfo]:
        """At most `limit` revisions below `before`, newest first; raises StoreError."""
        return await self._store.history(limit, before)

    async def commit(
        self,
        base: int,
        documents: Sequence[RevisionDocument],
        *,
        author: str,
        message: str,
        immediate: bool = False,
    ) -> RevisionInfo:
        """Make `documents` the next revision; raises RevisionConflictError, InputError, StoreError.

        The first revision of a mesh is in force at once: there is none to put back.
        """
        stored = {"/".join(document.key): _to_stored(document) for document in documents}
        on_trial = self._staged and not immediate and base > 0
        return (await self._store.commit(base, stored, author, message, on_trial=on_trial)).info


def _to_policy_revision(revision: StoredRevision) -> PolicyRevision:
    documents = tuple(
        RevisionDocument(document.body, document.source, document.created)
        for document in revision.documents.values()
    )
    return PolicyRevision(revision.info, documents)


def _to_stored(document: RevisionDocument) -> StoredDocument:
    text = StoredDocument.from_body(document.document).text
    return StoredDocument(text, document.source, document.created)
