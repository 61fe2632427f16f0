"""What differs between two versions of policy documents, field by field. Pure.

A unified diff shows it in full; this says it in a line per field: `spec.attempts: 2 → 3`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from meshwright.control_plane.api.models.policies import FieldChange, PlannedChange
from meshwright.control_plane.api.models.revisions import DocumentChange
from meshwright.control_plane.api.yaml.diff import Document, Key, document_key

FIELDS_SHOWN = 20
"""Fields of one document that a plan lists."""

TEXT_LENGTH = 120
"""Characters of a value: it is one line beside another."""

_ABSENT: Any = object()


def field_changes(
    before: Iterable[Document], after: Iterable[Document]
) -> dict[Key, tuple[FieldChange, ...]]:
    """The fields that differ, by kind and name; of documents that are in both sets and differ."""
    old = {document_key(document): document for document in before}
    return {
        key: tuple(_differences("", old[key], document))
        for document in after
        if (key := document_key(document)) in old and old[key] != document
    }


def planned_change(change: DocumentChange, fields: Sequence[FieldChange]) -> PlannedChange:
    """The change of a document with the first of the fields that differ."""
    shown = tuple(fields[:FIELDS_SHOWN])
    return PlannedChange(**change.model_dump(), fields=shown, more_fields=len(fields) - len(shown))


def _differences(path: str, old: Any, new: Any) -> Iterator[FieldChange]:
    if old == new and type(old) is type(new):
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in dict.fromkeys((*old, *new)):
            inner = f"{path}.{name}" if path else name
            yield from _differences(inner, old.get(name, _ABSENT), new.get(name, _ABSENT))
    elif _has_structure(old) and _has_structure(new):
        yield from _list_differences(path, old, new)
    else:
        yield FieldChange(field=path, before=_text(old), after=_text(new))


def _has_structure(value: Any) -> bool:
    """Whether it is a list with mappings or lists: others are shorter whole than by element."""
    return isinstance(value, list | tuple) and any(isinstance(item, Mapping | list | tuple) for item in value)


def _list_differences(path: str, old: Sequence[Any], new: Sequence[Any]) -> Iterator[FieldChange]:
    """Elements are compared in pairs, once those that are inserted, removed or the same are set aside."""
    left, right = ([json.dumps(item, sort_keys=True, default=dict) for item in side] for side in (old, new))
    for _, start, end, new_start, new_end in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        pairs = min(end - start, new_end - new_start)
        for offset in range(pairs):
            yield from _differences(
                f"{path}[{new_start + offset}]", old[start + offset], new[new_start + offset]
            )
        for index in range(start + pairs, end):
            yield FieldChange(field=f"{path}[{index}]", before=_text(old[index]))
        for index in range(new_start + pairs, new_end):
            yield FieldChange(field=f"{path}[{index}]", after=_text(new[index]))


def _text(value: Any) -> str:
    """A value in one line, as in YAML's flow style; empty for an absent one."""
    if value is _ABSENT:
        return ""
    text = _flow(value)
    return text if len(text) <= TEXT_LENGTH else f"{text[: TEXT_LENGTH - 1]}…"


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{name}: {_flow(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return value if isinstance(value, str) and _is_plain(value) else json.dumps(value, ensure_ascii=False)


def _is_plain(text: str) -> bool:
    """Whether text needs no quotes: it is neither empty nor a number, has no space at its ends."""
    try:
        json.loads(text)
    except ValueError:
        return bool(text) and text == text.strip() and text.isprintable()
    return False
