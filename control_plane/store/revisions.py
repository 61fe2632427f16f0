"""Revisions: the mesh's documents as numbered, immutable sets, changed only by compare-and-set.

A document is canonical JSON kept under its hash, so a rollback gives the very bytes again and what did not
change is kept once. Revision 0 is the mesh without documents.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from meshwright.control_plane.api.models.base import DocumentChange, RevisionInfo
from meshwright.control_plane.errors import InputError, StoreError

DOCUMENTS_LIMIT = 10_000
DOCUMENT_BYTES = 1 << 20
TOTAL_BYTES = 64 << 20
AUTHOR_LIMIT = 256
WHY_LIMIT = 2000
SOURCE_LIMIT = 1024


def canonical_json(body: Mapping[str, Any]) -> str:
    """The one JSON text of `body`: sorted keys, no blanks. Raises InputError for what JSON cannot say."""
    try:
        return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"a document cannot be written as JSON: {error}") from None


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as it is kept.

    `text` is canonical JSON. `source` is the `path:line` it was applied from, or empty. `created` is the
    revision since which its kind and name have existed without a break; 0 before the commit that sets it.
    """

    text: str
    source: str = ""
    created: int = 0

    @classmethod
    def from_body(cls, body: Mapping[str, Any], source: str = "") -> StoredDocument:
        """A document from its mapping (`kind`, `metadata.name` and what else there is)."""
        return cls(canonical_json(body), source)

    @property
    def body(self) -> dict[str, Any]:
        """The document as a mapping."""
        body: dict[str, Any] = json.loads(self.text)
        return body

    @property
    def digest(self) -> str:
        """SHA-256 of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def ref(self) -> str:
        """`Kind/name`."""
        body = self.body
        return f"{body['kind']}/{body['metadata']['name']}"


@dataclass(frozen=True, slots=True)
class StoredRevision:
    """One set of documents, by `Kind/name` in that order, and how it came to be."""

    info: RevisionInfo
    documents: Mapping[str, StoredDocument] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def number(self) -> int:
        """The revision's number; 0 is the mesh without documents."""
        return self.info.revision


EMPTY = StoredRevision(RevisionInfo(revision=0, author="", time=0.0))


@dataclass(frozen=True, slots=True)
class CommitPlan:
    """A commit before it is made: what it changes, all its documents, and the texts that are new."""

    changed: tuple[DocumentChange, ...]
    documents: Mapping[str, StoredDocument]
    new_texts: Mapping[str, str]


def validate_commit(documents: Mapping[str, StoredDocument], author: str, why: str) -> None:
    """Raise InputError when a commit is larger than the store takes, or names a document wrongly."""
    if len(documents) > DOCUMENTS_LIMIT:
        raise InputError(f"{len(documents)} documents: a mesh keeps {DOCUMENTS_LIMIT} at most; delete some")
    if len(author) > AUTHOR_LIMIT or len(why) > WHY_LIMIT:
        raise InputError(f"author takes {AUTHOR_LIMIT} characters and why {WHY_LIMIT}: shorten them")
    total = 0
    for ref, document in documents.items():
        size = len(document.text.encode())
        total += size
        if size > DOCUMENT_BYTES:
            raise InputError(f"{ref}: {size} bytes, a document has {DOCUMENT_BYTES} at most; split it")
        if ref != document.ref:
            raise InputError(f"{ref}: the document calls itself {document.ref}; use one name")
    if total > TOTAL_BYTES:
        raise InputError(f"all documents take {total} bytes, a mesh keeps {TOTAL_BYTES}; delete some")


def plan_commit(base: StoredRevision, documents: Mapping[str, StoredDocument]) -> CommitPlan:
    """What a commit of `documents` on top of `base` does; pure. `changed` is empty when nothing would.

    A document that carries `created` (it comes from a revision) keeps it, so that a rollback restores which
    of two conflicting documents is the older. Any other has that of its kind and name in `base`, or is new.
    """
    kept = {}
    for ref, document in sorted(documents.items()):
        before = base.documents.get(ref)
        created = document.created or (before.created if before else base.number + 1)
        kept[ref] = StoredDocument(document.text, document.source[:SOURCE_LIMIT], created)
    known = {document.text for document in base.documents.values()}
    new = {document.digest: document.text for document in kept.values() if document.text not in known}
    return CommitPlan(_changes(base.documents, kept), MappingProxyType(kept), new)


def _changes(
    before: Mapping[str, StoredDocument], after: Mapping[str, StoredDocument]
) -> tuple[DocumentChange, ...]:
    """What differs in text or age, by kind and name; where a document came from is no difference."""
    changed = []
    for ref in sorted({*before, *after}):
        old, new = before.get(ref), after.get(ref)
        action: Literal["created", "changed", "deleted"]
        if old is None:
            action = "created"
        elif new is None:
            action = "deleted"
        elif (old.text, old.created) != (new.text, new.created):
            action = "changed"
        else:
            continue
        kind, _, name = ref.partition("/")
        changed.append(DocumentChange(kind=kind, name=name, action=action))
    return tuple(changed)


def serialize_documents(documents: Mapping[str, StoredDocument]) -> str:
    """The list of a revision's documents as it is stored: ref → [digest, created, source]."""
    return json.dumps({ref: [one.digest, one.created, one.source] for ref, one in documents.items()})


def serialize_changes(changed: tuple[DocumentChange, ...]) -> str:
    """The changes of a revision as they are stored."""
    return json.dumps([[one.kind, one.name, one.action] for one in changed])


def parse_info(number: int, author: str, why: str, time: str, changed: str) -> RevisionInfo:
    """A revision's record from its stored fields; `time` is in milliseconds."""
    return RevisionInfo(
        revision=number,
        author=author,
        message=why,
        time=int(time) / 1000,
        changed=tuple(
            DocumentChange(kind=kind, name=name, action=action) for kind, name, action in json.loads(changed)
        ),
    )


def parse_digests(listed: str) -> set[str]:
    """The digests that a stored list of documents names."""
    return {digest for digest, _, _ in json.loads(listed).values()}


def parse_documents(listed: str, texts: Mapping[str, str]) -> Mapping[str, StoredDocument]:
    """The documents of a stored list; raises StoreError when a text is missing or not what it was."""
    documents = {}
    for ref, (digest, created, source) in json.loads(listed).items():
        document = StoredDocument(texts.get(digest, ""), source, created)
        if document.digest != digest:
            raise StoreError(f"the store lost the text of {ref}: restore it from a backup")
        documents[ref] = document
    return MappingProxyType(documents)
