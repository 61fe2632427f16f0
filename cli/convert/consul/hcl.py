"""Config entries in HCL as plain values with their positions.

Consul reads its entries with version 1 of HCL, without expressions: `Key = value`, `Key { ... }`, lists,
strings, numbers, booleans and heredocs. Python's libraries read version 2, where lists of objects without
`=` and positions of keys are lost, so the little that entries need is read here.
"""

from __future__ import annotations

import json
import re
from typing import Any

from meshwright.control_plane.api.yaml.parser import MAX_DEPTH, Position, SyntaxProblem, YamlNode

_SKIPPED = re.compile(r"(?:\s+|#[^\n]*|//[^\n]*|/\*.*?\*/)+", re.DOTALL)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_NUMBER = re.compile(r"-?[0-9]{1,18}(?:\.[0-9]{1,18})?(?:[eE][-+]?[0-9]{1,2})?(?![A-Za-z0-9_])")
_HEREDOC = re.compile(r"<<(-?)([A-Za-z_][A-Za-z0-9_]*)[ \t]*\r?\n")
_CONSTANTS = {"true": True, "false": False, "null": None}


class _InvalidError(Exception):
    """The text is no HCL at an offset."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset


def parse_hcl(text: str) -> tuple[list[YamlNode], list[SyntaxProblem]]:
    """The document of a text, none if it is empty, and its problem. Raises nothing."""
    reader = _Reader(text)
    try:
        node = reader.mapping(end="", depth=0)
    except _InvalidError as error:
        return [], [SyntaxProblem(reader.position(error.offset), f"not valid HCL: {error}")]
    return ([node] if node.children else []), []


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._offset = 0
        self._line = (1, 0)  # a line that was counted already, and the offset of its start

    def position(self, offset: int) -> Position:
        """Line and column of an offset; offsets grow, but for the one of an error."""
        line, start = self._line if self._line[1] <= offset else (1, 0)
        line += self._text.count("\n", start, offset)
        start = self._text.rfind("\n", 0, offset) + 1
        self._line = (line, start)
        return Position(line, offset - start + 1)

    def mapping(self, end: str, depth: int) -> YamlNode:
        """Entries up to `end`: a closing brace, or the end of the text. A repeated block makes a list."""
        position = self.position(self._offset)
        children: dict[str | int, tuple[Position, YamlNode]] = {}
        while not self._at_end(end):
            start = self._offset
            at, key = self.position(start), self._key()
            node = self._value_of(key, depth)
            if key not in children:
                children[key] = (at, node)
                continue
            first_at, first = children[key]
            if not isinstance(node.value, dict) or not isinstance(first.value, dict | list):
                raise _InvalidError(start, f"{key} is there twice: remove one")
            entries = list(first.children.values()) if isinstance(first.value, list) else [(first_at, first)]
            children[key] = (first_at, _list([*entries, (at, node)], first_at))
        value = {key: child.value for key, (_, child) in children.items()}
        return YamlNode(value, position, children)

    def _value_of(self, key: str, depth: int) -> YamlNode:
        self._skip()
        if self._text.startswith("=", self._offset):
            self._offset += 1
        elif not self._text.startswith("{", self._offset):
            raise _InvalidError(self._offset, f"expected = or {{ after {key}")
        return self._value(depth)

    def _at_end(self, end: str) -> bool:
        """Skip what separates entries; whether the collection ends here."""
        self._skip()
        while self._text.startswith((",", ";"), self._offset):
            self._offset += 1
            self._skip()
        if self._offset >= len(self._text):
            if end:
                raise _InvalidError(self._offset, f"expected {end} before the end")
            return True
        if end and self._text[self._offset] == end:
            self._offset += 1
            return True
        return False

    def _key(self) -> str:
        if match := _IDENTIFIER.match(self._text, self._offset):
            self._offset = match.end()
            return match.group()
        if self._text.startswith('"', self._offset):
            return self._string()
        raise _InvalidError(self._offset, "expected the name of a field")

    def _value(self, depth: int) -> YamlNode:
        self._skip()
        position = self.position(self._offset)
        if depth >= MAX_DEPTH:
            raise _InvalidError(self._offset, f"more than {MAX_DEPTH} levels")
        character = self._text[self._offset : self._offset + 1]
        if character == "{":
            self._offset += 1
            return self.mapping("}", depth + 1)
        if character == "[":
            self._offset += 1
            entries = []
            while not self._at_end("]"):
                at = self.position(self._offset)
                entries.append((at, self._value(depth + 1)))
            return _list(entries, position)
        return YamlNode(self._scalar(character), position)

    def _scalar(self, character: str) -> Any:
        if character == '"':
            return self._string()
        if match := _HEREDOC.match(self._text, self._offset):
            return self._heredoc(match)
        if match := _NUMBER.match(self._text, self._offset):
            self._offset = match.end()
            text = match.group()
            return int(text) if text.lstrip("-").isdigit() else float(text)
        word = _IDENTIFIER.match(self._text, self._offset)
        if word and word.group() in _CONSTANTS:
            self._offset = word.end()
            return _CONSTANTS[word.group()]
        raise _InvalidError(self._offset, "expected a string in quotes, a number, true, false, [ or {")

    def _string(self) -> str:
        match = _STRING.match(self._text, self._offset)
        if match is None:
            raise _InvalidError(self._offset, "close the quote")
        try:
            text = json.loads(match.group(), strict=False)
        except ValueError:
            raise _InvalidError(self._offset, "an escape that is not known: double the backslash") from None
        self._offset = match.end()
        return str(text)

    def _heredoc(self, start: re.Match[str]) -> str:
        end = re.compile(rf"^[ \t]*{start[2]}[ \t]*$", re.MULTILINE).search(self._text, start.end())
        if end is None:
            raise _InvalidError(self._offset, f"expected {start[2]} on a line of its own")
        self._offset = end.end()
        lines = self._text[start.end() : end.start()].splitlines(keepends=True)
        if start[1]:
            indent = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
            lines = [line[indent:] for line in lines]
        return "".join(lines)

    def _skip(self) -> None:
        if match := _SKIPPED.match(self._text, self._offset):
            self._offset = match.end()


def _list(entries: list[tuple[Position, YamlNode]], position: Position) -> YamlNode:
    return YamlNode([node.value for _, node in entries], position, dict(enumerate(entries)))
