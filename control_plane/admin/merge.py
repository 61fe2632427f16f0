"""What an edit makes of a revision's documents, and how to say so: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from control_plane.admin.mesh import Stored
from control_plane.api import yaml_diff
from control_plane.api.types import Change
from control_plane.errors import NotFoundError

Key = tuple[str, str]


def merge(current: Sequence[Stored], given: Sequence[Stored]) -> tuple[Stored, ...]:
    """`current` with `given` in it; a document whose content is the same keeps its old source."""
    merged = {stored.key: stored for stored in current}
    for stored in given:
        old = merged.get(stored.key)
        if old is None or old.document != stored.document:
            merged[stored.key] = stored
    return tuple(merged[key] for key in sorted(merged))


def remove(current: Sequence[Stored], keys: Iterable[Key]) -> tuple[Stored, ...]:
    """`current` without the documents named; raises NotFoundError naming every one that is missing."""
    left = {stored.key: stored for stored in current}
    wanted = set(keys)
    if missing := sorted(wanted - left.keys()):
        names = ", ".join(f"{kind}/{name}" for kind, name in missing)
        raise NotFoundError(f"no such document: {names}: see `mesh get`; nothing was deleted")
    return tuple(left[key] for key in sorted(left) if key not in wanted)


def changes(
    before: Sequence[Stored], after: Sequence[Stored], named: Iterable[Key] = ()
) -> tuple[Change, ...]:
    """What differs, sorted by kind and name; documents in `named` are told even when unchanged."""
    old = {stored.key: stored.document for stored in before}
    new = {stored.key: stored.document for stored in after}
    told = {key for key in old.keys() | new.keys() if old.get(key) != new.get(key)} | set(named)
    return tuple(_change(key, old, new) for key in sorted(told))


def _change(key: Key, old: Mapping[Key, object], new: Mapping[Key, object]) -> Change:
    kind, name = key
    if key not in old:
        return Change(kind=kind, name=name, action="created")
    if key not in new:
        return Change(kind=kind, name=name, action="deleted")
    return Change(kind=kind, name=name, action="unchanged" if old[key] == new[key] else "changed")


def unified(before: Sequence[Stored], after: Sequence[Stored]) -> str:
    """The difference as a unified diff of YAML, a file `Kind/name` for each document that differs."""
    return yaml_diff.unified((one.document for one in before), (one.document for one in after))
