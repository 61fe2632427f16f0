"""Revisions from their stored fields. What is stored is input: it may be lost, altered or of another version.

A document whose text cannot be read is left out, and named; its last good text is served meanwhile. A
revision whose index cannot be read leaves the last good revision in force.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from meshwright.control_plane.errors import StoreError
from meshwright.control_plane.store import lua, revisions
from meshwright.control_plane.store.connection import Connection
from meshwright.control_plane.store.revisions import StoredDocument, StoredRevision

MAX_NAMED = 5
"""Lost documents that a problem names."""


class RevisionReader:
    """Reads revisions and keeps the newest one that could be read.

    `current`: that revision, as far as it can be read. `served`: the same with the last good text of what
    cannot. `problem`: what is wrong with the newest revision; empty if nothing is.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._fields: list[Any] = []
        self._is_read = False
        self.current = revisions.EMPTY
        self.served = revisions.EMPTY
        self.problem = ""

    async def read_newest(self, number: int, fields: list[Any]) -> None:
        """Read the newest revision, unless it is read already.

        If it cannot be read, the last good one stays; raises StoreError if there is none.
        """
        if number == 0:
            self.current = self.served = revisions.EMPTY
            self.problem, self._is_read = "", True
            return
        if self._is_read and not self.problem and (number, fields) == (self.current.number, self._fields):
            return
        try:
            current = await self.load(number, fields)
        except UnreadableRevisionError as error:
            self.problem = str(error)
            if not self._is_read:
                raise
            return
        self.served = replace(current, documents=_with_last_good(current, self.served))
        self.current, self._fields, self._is_read = current, fields, True
        self.problem = _lost_text(current.lost) if current.lost else ""

    async def load(self, number: int, fields: list[Any]) -> StoredRevision:
        """A revision; fetches only the texts that the current revision lacks.

        Raises UnreadableRevisionError, and StoreError if the store is unavailable.
        """
        if None in fields:
            raise UnreadableRevisionError(f"the store lost revision {number}: restore it from a backup")
        author, message, committed_at, changed, index = fields
        try:
            info = revisions.parse_info(number, author, message, committed_at, changed)
            digests = revisions.parse_digests(index)
        except revisions.UNREADABLE:
            text = f"revision {number} in the store cannot be read: restore it from a backup"
            raise UnreadableRevisionError(text) from None
        texts = {document.digest: document.text for document in self.current.documents.values()}
        missing = sorted(digests - texts.keys())
        if missing:
            fetched = await self._connection.execute("MGET", *(lua.DOCUMENT + digest for digest in missing))
            texts.update({digest: text or "" for digest, text in zip(missing, fetched, strict=True)})
        documents, lost = revisions.parse_documents(index, texts)
        return StoredRevision(info, documents, lost)


class UnreadableRevisionError(StoreError):
    """A revision whose fields are missing or damaged."""


def lost_documents(lost: tuple[str, ...]) -> str:
    """The names of lost documents, for messages."""
    more = f" and {len(lost) - MAX_NAMED} more" if len(lost) > MAX_NAMED else ""
    return f"{', '.join(lost[:MAX_NAMED])}{more}"


def _lost_text(lost: tuple[str, ...]) -> str:
    return (
        f"the store lost the text of {lost_documents(lost)}: "
        "apply it again, or restore the store from a backup"
    )


def _with_last_good(current: StoredRevision, last: StoredRevision) -> Mapping[str, StoredDocument]:
    """The documents, those that are lost with their last good text."""
    last_good = {ref: last.documents[ref] for ref in current.lost if ref in last.documents}
    if not last_good:
        return current.documents
    return MappingProxyType(dict(sorted({**last_good, **current.documents}.items())))
