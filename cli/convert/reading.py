"""Foreign documents that remember which of their fields were read, so that none is dropped in silence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from meshwright.control_plane.api.yaml.parser import Position, YamlNode

FieldPath: TypeAlias = tuple[str | int, ...]

MAX_NUMBER = 2**32 - 1
"""The largest number of a field, as in protobuf's uint32."""


@dataclass(frozen=True, slots=True, order=True)
class Remark:
    """A field that is not converted, or one that means something slightly different here (`note`)."""

    path: str
    line: int
    column: int
    message: str
    note: bool = False

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {'note: ' if self.note else ''}{self.message}"


@dataclass(slots=True)
class Source:
    """One document of a file: what was read of it, and what there is to say about it."""

    path: str
    read: set[FieldPath] = field(default_factory=set)
    remarks: list[Remark] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Value:
    """A value of a foreign document; `position` is that of its key, or of an entry of a list."""

    source: Source
    node: YamlNode
    position: Position
    path: FieldPath = ()

    def get(self, name: str) -> Value | None:
        """A field of a mapping, which now counts as read; None if it is missing or null."""
        if not isinstance(self.node.value, Mapping):
            self.problem("is not a mapping: it is not converted")
            return None
        if name not in self.node.children:
            return None
        return self._child(name)

    def mapping(self, name: str) -> dict[str, Value]:
        """A field whose keys are data, such as labels, by key. An entry that is null is one, too."""
        parent = self.get(name)
        if parent is None:
            return {}
        if not isinstance(parent.node.value, Mapping):
            parent.problem("is not a mapping: it is not converted")
            return {}
        return {str(key): parent._entry(key) for key in parent.node.children}

    def items(self, name: str) -> list[Value]:
        """The entries of a list; empty if it is missing."""
        parent = self.get(name)
        return [] if parent is None else parent.entries()

    def entries(self) -> list[Value]:
        """The entries of this value, if it is a list."""
        if not isinstance(self.node.value, list):
            self.problem("is not a list: it is not converted")
            return []
        return [self._entry(index) for index in self.node.children]

    def text(self, name: str, default: str = "") -> str:
        """A field that is text."""
        child = self.get(name)
        return default if child is None else child.string(default)

    def string(self, default: str = "") -> str:
        """This value, if it is text; numbers, which YAML reads without quotes, are their text."""
        value = self.node.value
        if isinstance(value, str):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        self.problem("is not text: it is not converted")
        return default

    def integer(self, name: str) -> int | None:
        """A field that is a whole number."""
        number = self.number(name)
        if number is None or number == int(number):
            return None if number is None else int(number)
        self._entry(name).problem("is not a whole number: it is not converted")
        return None

    def number(self, name: str) -> float | None:
        """A field that is a number from 0 to MAX_NUMBER."""
        child = self.get(name)
        if child is None:
            return None
        value = child.node.value
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_NUMBER:
            return value
        child.problem(f"is not a number from 0 to {MAX_NUMBER}: it is not converted")
        return None

    def flag(self, name: str) -> bool:
        """A field that is true or false; false if it is missing."""
        child = self.get(name)
        if child is not None and not isinstance(child.node.value, bool):
            child.problem("is neither true nor false: it is not converted")
            return False
        return child is not None and bool(child.node.value)

    def problem(self, message: str, *, below: bool = True) -> None:
        """Say what of this value is not converted, and why. With `below`, nothing below it is reported."""
        if below:
            self.skip()
        self._remark(message, note=False)

    def note(self, message: str) -> None:
        """Say what is different in the converted value."""
        self._remark(message, note=True)

    def skip(self) -> None:
        """Nothing below this value counts, because of a remark elsewhere or of what the field means."""
        self.source.read.add((*self.path, "*"))

    def unread(self) -> Iterator[Value]:
        """The highest fields below this one that nothing has read."""
        if (*self.path, "*") in self.source.read:
            return
        for key, (position, node) in self.node.children.items():
            child = Value(self.source, node, position, (*self.path, key))
            if child.path in self.source.read:
                yield from child.unread()
            elif node.value is not None:
                yield child

    def _child(self, key: str | int) -> Value | None:
        child = self._entry(key)
        return None if child.node.value is None else child

    def _entry(self, key: str | int) -> Value:
        position, node = self.node.children[key]
        self.source.read.add((*self.path, key))
        return Value(self.source, node, position, (*self.path, key))

    def _remark(self, message: str, *, note: bool) -> None:
        text = f"{field_name(self.path)} {message}" if self.path else message
        remark = Remark(self.source.path, *self.position, text, note)
        if remark not in self.source.remarks:
            self.source.remarks.append(remark)


def field_name(path: FieldPath) -> str:
    """A path as users write it: `spec.http[0].match`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def schema_path(path: FieldPath) -> str:
    """A path without the positions in lists: `spec.http.match`."""
    return ".".join(part for part in path if isinstance(part, str))
