"""YAML (or JSON) text as plain values that remember where they stood.

Built from the parser's events without recursion, with limits on size, nesting and aliases, so that no text
can exhaust memory or stack. Scalars follow YAML 1.2's core schema: `no` is text, `012` is twelve.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
    SequenceStartEvent,
)

MAX_NODES = 100_000
MAX_DEPTH = 64
MAX_ALIASES = 100

# YAML 1.2.2 section 10.3.2; longer numbers than any field takes stay text.
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_OCTAL_HEX = re.compile(r"0o[0-7]{1,18}|0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,18}|[0-9]{1,18}(\.[0-9]{0,18})?)([eE][-+]?[0-9]{1,3})?")
_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_TAG = "tag:yaml.org,2002:"
_NOT_PRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HINTS = (
    ("cannot start any token", "quote the value, and indent with spaces, not tabs"),
    ("mapping values are not allowed", "check the indentation, and quote a value that holds ': '"),
    ("expected <block end>", "check the indentation"),
    ("could not find expected ':'", "a ':' is missing, or the indentation is wrong"),
    ("while scanning a quoted scalar", "close the quote"),
    ("expected ',' or", "close the bracket"),
)


class Position(NamedTuple):
    """Where something stands; both count from 1."""

    line: int
    column: int


class SyntaxProblem(NamedTuple):
    """Something wrong at a place."""

    position: Position
    message: str


@dataclass(slots=True)
class YamlNode:
    """A value, its place, and its parts: (place of the key, node) by key or index.

    `size` and `height` count the values in it and how deep they nest, with aliases written out.
    """

    value: Any
    position: Position
    children: dict[str | int, tuple[Position, YamlNode]] = field(default_factory=dict)
    size: int = 1
    height: int = 1


@dataclass(slots=True)
class _OpenCollection:
    """A collection whose end has not come yet; `key` waits for its value."""

    node: YamlNode
    anchor: str | None
    key: YamlNode | None = None


class _Abort(Exception):
    """Reading cannot go on."""


def parse_yaml(text: str) -> tuple[list[YamlNode], list[SyntaxProblem]]:
    """The documents of a text, empty ones left out, and what is wrong with it. Raises nothing."""
    builder = _Builder()
    odd = _NOT_PRINTABLE.search(text)
    if odd:
        line = text.count("\n", 0, odd.start()) + 1
        column = odd.start() - (text.rfind("\n", 0, odd.start()) + 1) + 1
        flaw = f"control character U+{ord(odd.group()):04X} in the text: take it out"
        return [], [SyntaxProblem(Position(line, column), flaw)]
    try:
        for event in _events(text):
            builder.handle_event(event)
    except _Abort:
        pass
    except YAMLError as error:
        builder.problems.append(
            SyntaxProblem(
                _error_position(error) or builder.position, f"not valid YAML: {_error_message(error)}"
            )
        )
    except (ValueError, IndexError, OverflowError, AttributeError, TypeError) as error:
        # the parser's own way of failing on directives and escapes that mean nothing
        builder.problems.append(
            SyntaxProblem(builder.position, f"not valid YAML after this place: {error}: correct it")
        )
    return [node for node in builder.documents if node.value is not None], builder.problems


def _events(text: str) -> Iterator[Event]:
    yaml = YAML(typ="safe", pure=True, plug_ins=[])
    yield from yaml.parse(text)


def _error_position(error: YAMLError) -> Position | None:
    mark = error.problem_mark or error.context_mark if isinstance(error, MarkedYAMLError) else None
    return Position(mark.line + 1, mark.column + 1) if mark else None


def _error_message(error: YAMLError) -> str:
    if not isinstance(error, MarkedYAMLError):
        return "it cannot be read: correct it"
    words = " ".join(f"{error.context or ''} {error.problem or ''}".split())
    hint = next((hint for sign, hint in _HINTS if sign in words), "correct it")
    return f"{words}: {hint}"


class _Builder:
    """Takes events in order and keeps what is open on a stack."""

    def __init__(self) -> None:
        self.documents: list[YamlNode] = []
        self.problems: list[SyntaxProblem] = []
        self.position = Position(1, 1)
        self._open: list[_OpenCollection] = []
        self._anchors: dict[str, YamlNode] = {}
        self._nodes = 0
        self._aliases = 0

    def handle_event(self, event: Event) -> None:
        """Take one event; raises _Stop when a limit is passed."""
        left_out = isinstance(event, ScalarEvent) and not (event.value or event.style)
        if event.start_mark is not None and not left_out:  # what is left out stands where its key is
            self.position = Position(event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, ScalarEvent):
            self._finish(YamlNode(self._scalar(event), self.position), event.anchor)
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            mapping = isinstance(event, MappingStartEvent)
            self._check_tag(event.tag, "map" if mapping else "seq")
            self._open.append(_OpenCollection(YamlNode({} if mapping else [], self.position), event.anchor))
            if len(self._open) > MAX_DEPTH:
                self._abort(f"nested deeper than {MAX_DEPTH} levels: no policy needs that")
        elif isinstance(event, CollectionEndEvent):
            done = self._open.pop()
            self._finish(done.node, done.anchor)
        elif isinstance(event, AliasEvent):
            self._alias(event.anchor)

    def _abort(self, message: str) -> None:
        self.problems.append(SyntaxProblem(self.position, message))
        raise _Abort

    def _check_tag(self, tag: str | None, allowed: str) -> None:
        if tag not in (None, "!", _TAG + allowed):
            short = tag.replace(_TAG, "!!")
            self.problems.append(
                SyntaxProblem(self.position, f"tag {short} is not understood here: leave it out")
            )

    def _scalar(self, event: ScalarEvent) -> Any:
        self._check_tag(event.tag, "str")
        text: str = event.value
        try:
            # JSON writes characters beyond the first plane as two escapes
            text = text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self.problems.append(
                SyntaxProblem(self.position, "half of a surrogate pair: give both or neither")
            )
            return ""
        return text if event.style or event.tag in ("!", f"{_TAG}str") else _resolve_scalar(text)

    def _alias(self, anchor: str) -> None:
        node = self._anchors.get(anchor)
        self._aliases += 1
        if node is None:
            self._abort(f"alias *{anchor} has no anchor before it: write &{anchor} at what it stands for")
        elif self._aliases > MAX_ALIASES:
            self._abort(f"more than {MAX_ALIASES} aliases: write the values out")
        else:
            self._nodes += node.size - 1
            self._finish(node, None)

    def _finish(self, node: YamlNode, anchor: str | None) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._abort(f"more than {MAX_NODES} values: split the file")
        if len(self._open) + node.height > MAX_DEPTH:
            self._abort(f"nested deeper than {MAX_DEPTH} levels: no policy needs that")
        if anchor:
            self._anchors[anchor] = node
        if self._open:
            self._add(self._open[-1], node)
        else:
            self.documents.append(node)
            self._anchors.clear()

    def _add(self, parent: _OpenCollection, node: YamlNode) -> None:
        into = parent.node
        if isinstance(into.value, list):
            into.children[len(into.value)] = (node.position, node)
            into.value.append(node.value)
        elif parent.key is None:
            parent.key = node
            return
        else:
            key, parent.key = parent.key, None
            if not self._check_key(into, key):
                return
            into.children[key.value] = (key.position, node)
            into.value[key.value] = node.value
        into.size += node.size
        into.height = max(into.height, node.height + 1)

    def _check_key(self, into: YamlNode, key: YamlNode) -> bool:
        if not isinstance(key.value, str):
            self.problems.append(SyntaxProblem(key.position, "a field's name must be text: quote it"))
            return False
        if key.value in into.children:
            first = into.children[key.value][0]
            message = f"{key.value!r} occurs twice, first at {first.line}:{first.column}: keep one"
            self.problems.append(SyntaxProblem(key.position, message))
            return False
        return True


def _resolve_scalar(text: str) -> Any:
    """A plain scalar as YAML 1.2's core schema reads it."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL_HEX.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


def find_node(node: YamlNode, path: Sequence[str | int]) -> tuple[Position, YamlNode]:
    """The place of the key and the node at a path; the deepest one there is when the path leads further."""
    key = node.position
    for part in path:
        if part not in node.children:
            break
        key, node = node.children[part]
    return key, node
