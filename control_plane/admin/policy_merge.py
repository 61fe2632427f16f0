"""What an edit makes of a revision's documents, and how to say so: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from meshwright.control_plane.api.models.revisions import DocumentChange
from meshwright.control_plane.api.yaml import diff
from meshwright.control_plane.core.revision import RevisionDocument
from meshwright.control_plane.errors import NotFoundError

Key = tuple[str, str]


def merge(
    current: Sequence[RevisionDocument], given: Sequence[RevisionDocument]
) -> tuple[RevisionDocument, ...]:
    """`current` with `given` in it; a document whose content is the same keeps its old source."""
    merged = {stored.key: stored for stored in current}
    for stored in given:
        old = merged.get(stored.key)
        if old is None or old.document != stored.document:
            merged[stored.key] = stored
    return tuple(merged[key] for key in sorted(merged))


def remove(current: Sequence[RevisionDocument], keys: Iterable[Key]) -> tuple[RevisionDocument, ...]:
    """`current` without the documents named; raises NotFoundError naming every one that is missing."""
    left = {stored.key: stored for stored in current}
    wanted = set(keys)
    if missing := sorted(wanted - left.keys()):
        names = ", ".join(f"{kind}/{name}" for kind, name in missing)
        raise NotFoundError(f"no such document: {names}: see `mesh get`; nothing was deleted")
    return tuple(left[key] for key in sorted(left) if key not in wanted)


def changes(
    before: Sequence[RevisionDocument], after: Sequence[RevisionDocument], named: Iterable[Key] = ()
) -> tuple[DocumentChange, ...]:
    """What differs, sorted by kind and name; documents in `named` are told even when unchanged."""
    old = {stored.key: stored.document for stored in before}
    new = {stored.key: stored.document for stored in after}
    told = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)} | set(named)
    return tuple(_change(key, old, new) for key in sorted(told))


def _change(key: Key, old: Mapping[Key, object], new: Mapping[Key, object]) -> DocumentChange:
    kind, name = key
    if key not in old:
        return DocumentChange(kind=kind, name=name, action="created")
    if key not in new:
        return DocumentChange(kind=kind, name=name, action="deleted")
    return DocumentChange(kind=kind, name=name, action="unchanged" if old[key] == new[key] else "changed")


def document_diff(before: Sequence[RevisionDocument], after: Sequence[RevisionDocument]) -> str:
    """The difference as a unified diff of YAML, a file `Kind/name` for each document that differs."""
    return diff.unified_diff((one.document for one in before), (one.document for one in after))
