"""The documents of a revision after an edit, and what changed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from meshwright.control_plane.api.models.revisions import DocumentChange
from meshwright.control_plane.core.revision import RevisionDocument
from meshwright.control_plane.errors import NotFoundError
from meshwright.control_plane.policies.validation_messages import closest_match

Key = tuple[str, str]


def merge(
    current: Sequence[RevisionDocument], applied: Sequence[RevisionDocument]
) -> tuple[RevisionDocument, ...]:
    """`current` with `applied` added or replaced; a document with the same content keeps its old source."""
    merged = {document.key: document for document in current}
    for document in applied:
        old = merged.get(document.key)
        if old is None or old.document != document.document:
            merged[document.key] = document
    return tuple(merged[key] for key in sorted(merged))


def prune(
    current: Sequence[RevisionDocument],
    labels: Mapping[str, str] | None,
    applied: Iterable[RevisionDocument],
) -> tuple[RevisionDocument, ...]:
    """`current` without what has all of these labels and is not applied; all of it if `labels` is None."""
    if labels is None:
        return tuple(current)
    keys = {document.key for document in applied}
    return tuple(item for item in current if item.key in keys or not _has_labels(item.document, labels))


def _has_labels(document: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    present: Mapping[str, str] = document["metadata"].get("labels", {})
    return labels.items() <= present.items()


def remove(current: Sequence[RevisionDocument], keys: Iterable[Key]) -> tuple[RevisionDocument, ...]:
    """`current` without the named documents; raises NotFoundError with every name that is missing."""
    documents = {document.key: document for document in current}
    removed = set(keys)
    if missing := sorted(removed - documents.keys()):
        names = ", ".join(_with_suggestion(key, documents) for key in missing)
        raise NotFoundError(f"no such document: {names}: see `mesh get`; nothing was deleted")
    return tuple(documents[key] for key in sorted(documents) if key not in removed)


def _with_suggestion(key: Key, documents: Iterable[Key]) -> str:
    """`Kind/name` of a missing document, with the closest name of its kind."""
    kind, name = key
    match = closest_match(name, sorted(other for of_kind, other in documents if of_kind == kind))
    return f"{kind}/{name}" + (f" (did you mean {match}?)" if match else "")


def changes(
    before: Sequence[RevisionDocument], after: Sequence[RevisionDocument], include: Iterable[Key] = ()
) -> tuple[DocumentChange, ...]:
    """What differs, sorted by kind and name; documents in `include` are listed even if unchanged."""
    old = {document.key: document.document for document in before}
    new = {document.key: document.document for document in after}
    listed = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)} | set(include)
    return tuple(_change(key, old, new) for key in sorted(listed))


def _change(key: Key, old: Mapping[Key, object], new: Mapping[Key, object]) -> DocumentChange:
    kind, name = key
    if key not in old:
        return DocumentChange(kind=kind, name=name, action="created")
    if key not in new:
        return DocumentChange(kind=kind, name=name, action="deleted")
    return DocumentChange(kind=kind, name=name, action="unchanged" if old[key] == new[key] else "changed")
