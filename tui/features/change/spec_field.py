"""The fields of a sheet: where each is in a policy, and how its text is read and written. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from meshwright.control_plane.errors import InputError

Path = tuple[str | int, ...]
"""The way to a value in a document: names of fields and indices of lists."""


@dataclass(frozen=True, slots=True)
class SpecField:
    """A field of a form: a value at `path` of a mapping, left out of it where the text is blank.

    `hint` says what a blank text means. `parse` raises ValueError with what is expected. `needs`: paths one
    of which must have a value for this to have a meaning; without any it is left out.
    """

    path: Path
    label: str
    hint: str = ""
    parse: Callable[[str], object] = str
    needs: tuple[Path, ...] = ()

    @property
    def key(self) -> str:
        """Its name in the form."""
        return "-".join(map(str, self.path))


def whole_number(text: str) -> int:
    """An integer of 0 or more."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError("write a whole number")
    return int(text)


def percentage(text: str) -> int | float:
    """A number of per cent, with or without its sign."""
    number = text.removesuffix("%").strip()
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", number) or float(number) > 100:
        raise ValueError("write a percentage from 0 to 100")
    return float(number) if "." in number else int(number)


def retry_conditions(text: str) -> list[str | int]:
    """Conditions with commas or blanks between them; statuses are numbers, `5xx` is none."""
    words = re.split(r"[\s,]+", text.strip(", "))
    return [int(word) if word.isdigit() else word for word in words]


def duration(text: str) -> str:
    """A duration as policies write it; the control plane knows which fields it suits."""
    if not re.fullmatch(r"([0-9]{1,5}(h|m|s|ms)){1,4}", text):
        raise ValueError("write a duration like 500ms, 10s or 1m30s")
    return text


def format_value(value: object) -> str:
    """A value of a document as the text of a field."""
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else "" if value is None else str(value)


def value_at(mapping: Any, path: Path) -> Any:
    """The value at a path; None: there is none."""
    for part in path:
        if isinstance(mapping, Mapping):
            mapping = mapping.get(part)
        elif isinstance(mapping, list | tuple) and isinstance(part, int) and part < len(mapping):
            mapping = mapping[part]
        else:
            return None
    return mapping


def texts_of(mapping: Any, fields: Iterable[SpecField]) -> dict[str, str]:
    """The texts of a form's fields, by key."""
    return {field.key: format_value(value_at(mapping, field.path)) for field in fields}


def parse_texts(fields: Iterable[SpecField], texts: Mapping[str, str]) -> dict[Path, object]:
    """The values of the fields that have a text. Raises InputError that names the field."""
    values: dict[Path, object] = {}
    for field in fields:
        text = texts.get(field.key, "").strip()
        if not text:
            continue
        try:
            values[field.path] = field.parse(text)
        except ValueError as error:
            raise InputError(f"{field.label}: {error}, not {text!r}") from None
    needs = {field.path: field.needs for field in fields}
    return {
        path: value
        for path, value in values.items()
        if not needs[path] or any(other in values for other in needs[path])
    }


def with_values(
    mapping: Mapping[str, Any], fields: Iterable[SpecField], values: Mapping[Path, object]
) -> dict[str, Any]:
    """A copy of a mapping with the values of fields; those without one are removed, empty mappings too."""
    copy = deepcopy(dict(mapping))
    for field in fields:
        if field.path in values:
            _set(copy, field.path, values[field.path])
        else:
            _remove(copy, field.path)
    return copy


def _set(mapping: dict[str, Any], path: Path, value: object) -> None:
    *parents, last = path
    for part in parents:
        mapping = mapping.setdefault(str(part), {})
    mapping[str(last)] = value


def _remove(mapping: dict[str, Any], path: Path) -> None:
    first, *rest = path
    if first not in mapping:
        return
    if rest:
        _remove(mapping[str(first)], tuple(rest))
    if not rest or not mapping[str(first)]:
        del mapping[str(first)]
