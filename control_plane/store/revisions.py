"""Revisions: the mesh's documents as numbered, immutable sets, changed only by compare-and-set.

A document is canonical JSON, stored under its hash: a rollback restores the exact bytes, and an unchanged
document is stored once. Revision 0 is the mesh without documents.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from meshwright.control_plane.api.models.revisions import DocumentChange, RevisionInfo
from meshwright.control_plane.errors import InputError

UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What parsing a damaged value may raise; pydantic's ValidationError is a ValueError."""

DOCUMENTS_LIMIT = 10_000
DOCUMENT_BYTES = 1 << 20
TOTAL_BYTES = 64 << 20
AUTHOR_LIMIT = 256
MESSAGE_LIMIT = 2000
SOURCE_LIMIT = 1024


def canonical_json(body: Mapping[str, Any]) -> str:
    """The canonical JSON of `body`: sorted keys, no spaces. Raises InputError if JSON cannot express it."""
    try:
        return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InputError(f"a document cannot be written as JSON: {error}") from None


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as it is stored.

    `text` is canonical JSON. `source` is the `path:line` it was applied from, or empty. `created` is the
    revision since which its kind and name exist without interruption, `generation` the one that gave it
    this text; both are 0 before the commit that sets them.
    """

    text: str
    source: str = ""
    created: int = 0
    generation: int = 0

    @classmethod
    def from_body(cls, body: Mapping[str, Any], source: str = "") -> StoredDocument:
        """A document from its mapping (`kind`, `metadata.name` and the rest)."""
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
    """One set of documents, by `Kind/name` in that order, with its author, time and reason.

    `lost`: the documents of the revision that the store does not have any more.
    """

    info: RevisionInfo
    documents: Mapping[str, StoredDocument] = field(default_factory=lambda: MappingProxyType({}))
    lost: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """The revision's number; 0 is the mesh without documents."""
        return self.info.revision


EMPTY = StoredRevision(RevisionInfo(revision=0, author="", time=0.0))


@dataclass(frozen=True, slots=True)
class CommitPlan:
    """A planned commit: its changes, all its documents, and the texts to store by digest."""

    changed: tuple[DocumentChange, ...]
    documents: Mapping[str, StoredDocument]
    new_texts: Mapping[str, str]


def validate_commit(documents: Mapping[str, StoredDocument], author: str, message: str) -> None:
    """Raise InputError when a commit exceeds a limit, or its refs do not match its documents."""
    if len(documents) > DOCUMENTS_LIMIT:
        raise InputError(f"{len(documents)} documents: a mesh holds at most {DOCUMENTS_LIMIT}; delete some")
    if len(author) > AUTHOR_LIMIT or len(message) > MESSAGE_LIMIT:
        raise InputError(f"author takes {AUTHOR_LIMIT} characters and message {MESSAGE_LIMIT}: shorten them")
    total = 0
    for ref, document in documents.items():
        size = len(document.text.encode())
        total += size
        if size > DOCUMENT_BYTES:
            raise InputError(f"{ref}: {size} bytes, a document has at most {DOCUMENT_BYTES}; split it")
        if ref != document.ref:
            raise InputError(f"{ref}: the document is named {document.ref}; use one name")
    if total > TOTAL_BYTES:
        raise InputError(f"the documents have {total} bytes, a mesh holds at most {TOTAL_BYTES}; delete some")


def plan_commit(base: StoredRevision, documents: Mapping[str, StoredDocument]) -> CommitPlan:
    """Plan a commit of `documents` on top of `base`; pure. `changed` is empty when nothing changes.

    A document with `created` (from an earlier revision) keeps it, so that a rollback restores which of two
    conflicting documents is older. Any other gets `created` of its kind and name in `base`, or is new.
    """
    planned = {}
    for ref, document in sorted(documents.items()):
        before = base.documents.get(ref)
        created = document.created or (before.created if before else base.number + 1)
        is_same = before is not None and before.text == document.text
        generation = before.generation if before and is_same else base.number + 1
        planned[ref] = StoredDocument(document.text, document.source[:SOURCE_LIMIT], created, generation)
    stored_texts = {document.text for document in base.documents.values()}
    new_texts = {
        document.digest: document.text for document in planned.values() if document.text not in stored_texts
    }
    return CommitPlan(_changes(base.documents, planned), MappingProxyType(planned), new_texts)


def _changes(
    before: Mapping[str, StoredDocument], after: Mapping[str, StoredDocument]
) -> tuple[DocumentChange, ...]:
    """Differences in text or `created`, by kind and name; a different source is not a change."""
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
    """The index of a revision's documents as it is stored: ref → [digest, created, source, generation]."""
    return json.dumps(
        {
            ref: [document.digest, document.created, document.source, document.generation]
            for ref, document in documents.items()
        }
    )


def serialize_changes(changed: tuple[DocumentChange, ...]) -> str:
    """The changes of a revision as they are stored."""
    return json.dumps([[change.kind, change.name, change.action] for change in changed])


def parse_info(number: int, author: str, message: str, time: str, changed: str) -> RevisionInfo:
    """A revision's record from its stored fields; `time` is in milliseconds. Raises one of UNREADABLE."""
    return RevisionInfo(
        revision=number,
        author=author,
        message=message,
        time=int(time) / 1000,
        changed=tuple(
            DocumentChange(kind=kind, name=name, action=action) for kind, name, action in json.loads(changed)
        ),
    )


def parse_digests(index: str) -> set[str]:
    """The digests in a stored index of documents; raises one of UNREADABLE."""
    return {digest for digest, *_ in json.loads(index).values()}


def parse_documents(
    index: str, texts: Mapping[str, str]
) -> tuple[Mapping[str, StoredDocument], tuple[str, ...]]:
    """The documents of a stored index, and the names of those whose text is missing or altered."""
    documents = {}
    lost = []
    for ref, (digest, created, source, *generation) in json.loads(index).items():
        # An index without generations is of a version before they were stored.
        document = StoredDocument(texts.get(digest, ""), source, created, *(generation or [created]))
        try:
            is_readable = document.digest == digest and document.ref == ref
        except UNREADABLE:
            is_readable = False
        if is_readable:
            documents[ref] = document
        else:
            lost.append(ref)
    return MappingProxyType(documents), tuple(lost)
