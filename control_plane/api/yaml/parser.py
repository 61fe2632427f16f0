"""YAML (or JSON) text as plain values with their positions.

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

# YAML 1.2.2 section 10.3.2. Numbers longer than any field accepts remain text.
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
    ("mapping values are not allowed", "check the indentation, and quote a value that contains ': '"),
    ("expected <block end>", "check the indentation"),
    ("could not find expected ':'", "a ':' is missing, or the indentation is wrong"),
    ("while scanning a quoted scalar", "close the quote"),
    ("expected ',' or", "close the bracket"),
)


class Position(NamedTuple):
    """A position in the text; line and column count from 1."""

    line: int
    column: int


class SyntaxProblem(NamedTuple):
    """What is wrong at a position."""

    position: Position
    message: str


@dataclass(slots=True)
class YamlNode:
    """A value, its position, and its children: (position of the key, node) by key or index.

    `size` and `height` count the values in it and their nesting, with aliases expanded.
    """

    value: Any
    position: Position
    children: dict[str | int, tuple[Position, YamlNode]] = field(default_factory=dict)
    size: int = 1
    height: int = 1


@dataclass(slots=True)
class _OpenCollection:
    """A collection whose end event has not arrived; `key` waits for its value."""

    node: YamlNode
    anchor: str | None
    key: YamlNode | None = None


class _Abort(Exception):
    """Parsing cannot continue."""


def parse_yaml(text: str) -> tuple[list[YamlNode], list[SyntaxProblem]]:
    """The documents of a text, without empty ones, and its problems. Raises nothing."""
    builder = _Builder()
    control = _NOT_PRINTABLE.search(text)
    if control:
        line = text.count("\n", 0, control.start()) + 1
        column = control.start() - (text.rfind("\n", 0, control.start()) + 1) + 1
        message = f"control character U+{ord(control.group()):04X} in the text: remove it"
        return [], [SyntaxProblem(Position(line, column), message)]
    try:
        for event in _events(text):
            builder.handle_event(event)
    except _Abort:
        pass
    except YAMLError as error:
        position = _error_position(error) or builder.position
        builder.problems.append(SyntaxProblem(position, f"not valid YAML: {_error_message(error)}"))
    except (ValueError, IndexError, OverflowError, AttributeError, TypeError) as error:
        # what the parser raises for directives and escapes that it does not know
        message = f"not valid YAML after this position: {error}: correct it"
        builder.problems.append(SyntaxProblem(builder.position, message))
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
    message = " ".join(f"{error.context or ''} {error.problem or ''}".split())
    hint = next((hint for text, hint in _HINTS if text in message), "correct it")
    return f"{message}: {hint}"


class _Builder:
    """Builds the documents from events, with a stack of open collections."""

    def __init__(self) -> None:
        self.documents: list[YamlNode] = []
        self.problems: list[SyntaxProblem] = []
        self.position = Position(1, 1)
        self._open: list[_OpenCollection] = []
        self._anchors: dict[str, YamlNode] = {}
        self._nodes = 0
        self._aliases = 0

    def handle_event(self, event: Event) -> None:
        """Add one event; raises _Abort when a limit is exceeded."""
        omitted = isinstance(event, ScalarEvent) and not (event.value or event.style)
        if event.start_mark is not None and not omitted:  # an omitted value is at the position of its key
            self.position = Position(event.start_mark.line + 1, event.start_mark.column + 1)
        if isinstance(event, ScalarEvent):
            self._finish(YamlNode(self._scalar(event), self.position), event.anchor)
        elif isinstance(event, MappingStartEvent | SequenceStartEvent):
            mapping = isinstance(event, MappingStartEvent)
            self._check_tag(event.tag, "map" if mapping else "seq")
            node = YamlNode({} if mapping else [], self.position)
            self._open.append(_OpenCollection(node, event.anchor))
            if len(self._open) > MAX_DEPTH:
                self._abort(f"nested deeper than {MAX_DEPTH} levels: no policy needs that")
        elif isinstance(event, CollectionEndEvent):
            collection = self._open.pop()
            self._finish(collection.node, collection.anchor)
        elif isinstance(event, AliasEvent):
            self._alias(event.anchor)

    def _abort(self, message: str) -> None:
        self.problems.append(SyntaxProblem(self.position, message))
        raise _Abort

    def _check_tag(self, tag: str | None, allowed: str) -> None:
        if tag not in (None, "!", _TAG + allowed):
            short = tag.replace(_TAG, "!!")
            self.problems.append(SyntaxProblem(self.position, f"tag {short} is not supported: remove it"))

    def _scalar(self, event: ScalarEvent) -> Any:
        self._check_tag(event.tag, "str")
        text: str = event.value
        try:
            # JSON writes characters beyond the first plane as two escapes
            text = text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            message = "half of a surrogate pair: write both halves or neither"
            self.problems.append(SyntaxProblem(self.position, message))
            return ""
        return text if event.style or event.tag in ("!", f"{_TAG}str") else _resolve_scalar(text)

    def _alias(self, anchor: str) -> None:
        node = self._anchors.get(anchor)
        self._aliases += 1
        if node is None:
            self._abort(f"alias *{anchor} has no anchor before it: write &{anchor} at the value it refers to")
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

    def _add(self, collection: _OpenCollection, node: YamlNode) -> None:
        parent = collection.node
        if isinstance(parent.value, list):
            parent.children[len(parent.value)] = (node.position, node)
            parent.value.append(node.value)
        elif collection.key is None:
            collection.key = node
            return
        else:
            key, collection.key = collection.key, None
            if not self._check_key(parent, key):
                return
            parent.children[key.value] = (key.position, node)
            parent.value[key.value] = node.value
        parent.size += node.size
        parent.height = max(parent.height, node.height + 1)

    def _check_key(self, parent: YamlNode, key: YamlNode) -> bool:
        if not isinstance(key.value, str):
            self.problems.append(SyntaxProblem(key.position, "a field's name must be text: quote it"))
            return False
        if key.value in parent.children:
            first = parent.children[key.value][0]
            message = f"{key.value!r} occurs twice, first at {first.line}:{first.column}: keep one"
            self.problems.append(SyntaxProblem(key.position, message))
            return False
        return True


def _resolve_scalar(text: str) -> Any:
    """A plain scalar by YAML 1.2's core schema."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL_HEX.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


def find_node(node: YamlNode, path: Sequence[str | int]) -> tuple[Position, YamlNode]:
    """The key's position and the node at a path, or the deepest ones that exist on the way."""
    position = node.position
    for part in path:
        if part not in node.children:
            break
        position, node = node.children[part]
    return position, node
