"""JSON patches (RFC 6902) on plain JSON values, with paths as JSON pointers (RFC 6901)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Operation = Literal["add", "remove", "replace", "move", "copy", "test"]


MAX_COPIED = 1024 * 1024
"""Characters of JSON that the copies of one patch add: copies of copies would double without end."""


class PatchError(ValueError):
    """An operation cannot be applied; the message says which and why, `step` its place among all."""

    def __init__(self, message: str, step: int = 0) -> None:
        super().__init__(message)
        self.step = step


@dataclass(frozen=True, slots=True)
class Step:
    """One operation; `value` is JSON text."""

    op: Operation
    path: tuple[str, ...]
    source: tuple[str, ...] = ()
    value: str = "null"


def parse_pointer(text: str) -> tuple[str, ...]:
    """The reference tokens of a JSON pointer; raises ValueError for a text that is none."""
    if text and not text.startswith("/"):
        raise ValueError(f"{text!r} is not a JSON pointer: it begins with /, such as /connect_timeout")
    if "~" in text.replace("~0", "").replace("~1", ""):
        raise ValueError(f"{text!r}: write ~ as ~0 and a slash within a name as ~1")
    return tuple(member.replace("~1", "/").replace("~0", "~") for member in text.split("/")[1:])


def render_pointer(tokens: Iterable[str]) -> str:
    """The JSON pointer of some tokens."""
    return "".join("/" + member.replace("~", "~0").replace("/", "~1") for member in tokens)


def apply(document: Any, steps: Iterable[Step]) -> Any:
    """The document after all operations; the one passed in stays as it is. Raises PatchError."""
    result = json.loads(json.dumps(document))
    copied = 0
    for number, step in enumerate(steps):
        try:
            if step.op == "copy":
                copied += len(json.dumps(_get(result, step.source)))
                if copied > MAX_COPIED:
                    raise PatchError(f"all copies together have more than {MAX_COPIED} characters")
            result = _OPERATIONS[step.op](result, step)
        except PatchError as error:
            text = f"{step.op} {render_pointer(step.path) or '(all)'}: {error}"
            raise PatchError(text, number) from None
    return result


def _get(value: Any, path: tuple[str, ...]) -> Any:
    for position, member in enumerate(path):
        value = _member(value, member, path[: position + 1])
    return value


def _member(value: Any, member: str, path: tuple[str, ...]) -> Any:
    if isinstance(value, dict):
        if member not in value:
            names = ", ".join(value) or "nothing"
            raise PatchError(f"there is no {render_pointer(path)}: beside it are {names}")
        return value[member]
    if isinstance(value, list):
        return value[_index(member, len(value) - 1, path)]
    raise PatchError(f"{render_pointer(path[:-1])} is a plain value and has no members")


def _index(member: str, most: int, path: tuple[str, ...]) -> int:
    if not member.isascii() or not member.isdigit() or (member != "0" and member.startswith("0")):
        raise PatchError(f"{render_pointer(path)}: {member!r} is not an index of a list")
    if int(member) > most:
        raise PatchError(f"there is no {render_pointer(path)}: the list has {most + 1} entries")
    return int(member)


def _add(document: Any, step: Step, value: Any = None) -> Any:
    new = json.loads(step.value) if value is None else value
    if not step.path:
        return new
    parent, member = _get(document, step.path[:-1]), step.path[-1]
    if isinstance(parent, dict):
        parent[member] = new
    elif isinstance(parent, list):
        parent.insert(len(parent) if member == "-" else _index(member, len(parent), step.path), new)
    else:
        raise PatchError(f"{render_pointer(step.path[:-1])} is a plain value and has no members")
    return document


def _remove(document: Any, step: Step) -> Any:
    if not step.path:
        raise PatchError("a resource cannot be removed as a whole")
    _member(_get(document, step.path[:-1]), step.path[-1], step.path)
    parent = _get(document, step.path[:-1])
    del parent[step.path[-1] if isinstance(parent, dict) else int(step.path[-1])]
    return document


def _replace(document: Any, step: Step) -> Any:
    return _add(_remove(document, step), step) if step.path else _add(document, step)


def _move(document: Any, step: Step) -> Any:
    if step.path[: len(step.source)] == step.source and step.path != step.source:
        raise PatchError("a value cannot be moved into itself")
    value = _get(document, step.source)
    return _add(_remove(document, Step("remove", step.source)), step, value)


def _copy(document: Any, step: Step) -> Any:
    return _add(document, step, json.loads(json.dumps(_get(document, step.source))))


def _test(document: Any, step: Step) -> Any:
    if _get(document, step.path) != json.loads(step.value):
        raise PatchError(f"the value is {json.dumps(_get(document, step.path))}")
    return document


_OPERATIONS: Mapping[str, Callable[[Any, Step], Any]] = {
    "add": _add,
    "remove": _remove,
    "replace": _replace,
    "move": _move,
    "copy": _copy,
    "test": _test,
}
