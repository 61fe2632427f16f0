"""The output format `jsonpath=TEMPLATE`, as far as scripts use kubectl's: text with expressions in braces.

An expression is a path, such as `{.items[*].name}`, `{.items[0].ports[0]}`, `{.labels['app.version']}`; or a
string, `{"\\n"}`. Several values are joined by spaces, a field that is missing is empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from meshwright.control_plane.errors import InputError

_STEP = re.compile(
    r"""\.(?P<field>[\w-]+)|\[(?P<index>-?[0-9]{1,9})\]|\[(?P<all>\*)\]|\[(?P<quoted>'[^']*'|"[^"]*")\]"""
)

Step = str | int | None
"""A field, an index, or None for every item."""


class Template:
    """A template that is ready to render values."""

    def __init__(self, text: str) -> None:
        """Parse a template; raises InputError for what it cannot express."""
        self._parts = [part for part in _parts(text) if part != ""]

    def render(self, value: Any) -> str:
        """The template's text for a value."""
        return "".join(
            part if isinstance(part, str) else " ".join(map(_text, _select([value], part)))
            for part in self._parts
        )


def _parts(text: str) -> Iterator[str | list[Step]]:
    """Literal texts, and paths as lists of steps."""
    text = text if "{" in text else f"{{{text}}}"
    position = 0
    for match in re.finditer(r'\{((?:"(?:[^"\\]|\\.)*"|[^{}])*)\}', text):
        yield text[position : match.start()]
        yield _expression(match[1].strip())
        position = match.end()
    rest = text[position:]
    if "{" in rest or "}" in rest:
        raise InputError(f"jsonpath: unmatched brace in {rest[:100]!r}: write it like {{.items[*].name}}")
    yield rest


def _expression(text: str) -> str | list[Step]:
    if text.startswith('"'):
        try:
            return str(json.loads(text))
        except ValueError:
            raise InputError(f"jsonpath: {text[:100]} is not a valid string") from None
    path = text.removeprefix("$").removeprefix("@")
    path = path if path.startswith((".", "[")) or not path else f".{path}"
    steps: list[Step] = []
    position = 0
    while position < len(path):
        match = _STEP.match(path, position)
        if match is None:
            raise InputError(
                f"jsonpath: cannot read {path[position:][:100]!r} of {text[:100]!r}: "
                "a path has .FIELD, [N], [*] and ['FIELD']"
            )
        steps.append(_step(match))
        position = match.end()
    return steps


def _step(match: re.Match[str]) -> Step:
    if match["all"]:
        return None
    if match["index"]:
        return int(match["index"])
    return match["field"] or match["quoted"][1:-1]


def _select(values: list[Any], path: list[Step]) -> list[Any]:
    """The values at a path below each of `values`."""
    for step in path:
        values = [inner for value in values for inner in _children(value, step)]
    return values


def _children(value: Any, step: Step) -> list[Any]:
    if isinstance(value, dict):
        if step is None:
            return list(value.values())
        return [value[step]] if step in value else []
    if isinstance(value, list):
        if step is None:
            return value
        return [value[step]] if isinstance(step, int) and -len(value) <= step < len(value) else []
    return []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
