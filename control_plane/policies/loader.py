"""Policy files: bytes in, documents or problems out. Every problem is found, not only the first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from meshwright.control_plane.api.yaml import parser
from meshwright.control_plane.api.yaml.parser import Position, YamlNode
from meshwright.control_plane.policies.base import Policy
from meshwright.control_plane.policies.registry import kinds
from meshwright.control_plane.policies.validation_messages import (
    closest_match,
    distinct_errors,
    error_message,
    format_value,
)

MAX_BYTES = 1 << 20
MAX_PROBLEMS = 100
"""Problems reported for one file; more help nobody."""
MAX_MESSAGE = 500

_START = Position(1, 1)


@dataclass(frozen=True, slots=True, order=True)
class DocumentProblem:
    """Something wrong in a file; its text is the line that users see. Lines and columns count from 1."""

    path: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.message}"


def _problem(path: str, place: Position, message: str) -> DocumentProblem:
    """A problem whose message is one line of sane length, whatever of the file it quotes."""
    line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in message[:MAX_MESSAGE])
    return DocumentProblem(path, *place, line if len(message) <= MAX_MESSAGE else f"{line}...")


@dataclass(frozen=True, slots=True)
class LocatedPolicy:
    """A valid document, where it begins, and `raw`: what was written, as plain values."""

    policy: Policy
    path: str
    line: int
    column: int
    raw: dict[str, Any]
    node: YamlNode = field(repr=False, compare=False)

    def position(self, *parts: str | int) -> Position:
        """Where a value stands, such as `place("spec", "targetRefs", 0, "name")`."""
        return parser.find_node(self.node, parts)[1].position

    def problem(self, message: str, *parts: str | int) -> DocumentProblem:
        """A problem or warning about a value of this document."""
        return _problem(self.path, self.position(*parts), message)


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What was read: nothing of it may be applied while there are problems."""

    documents: tuple[LocatedPolicy, ...] = ()
    problems: tuple[DocumentProblem, ...] = ()


KindMap = Mapping[str, type[Policy]]


def load(data: bytes, path: str, allowed_kinds: KindMap | None = None) -> LoadResult:
    """The documents of one file, YAML or JSON, and all that is wrong with it. Raises nothing.

    `known` are the kinds it may hold; left out: all policy kinds.
    """
    return load_files([(path, data)], allowed_kinds)


def load_files(files: Iterable[tuple[str, bytes]], allowed_kinds: KindMap | None = None) -> LoadResult:
    """The documents of several files, (path, content) each; all of them share one set of names."""
    allowed_kinds = kinds() if allowed_kinds is None else allowed_kinds
    documents: list[LocatedPolicy] = []
    problems: list[DocumentProblem] = []
    for path, data in files:
        found, wrong = _load_one(data, path, allowed_kinds)
        documents += found
        problems += _capped(sorted(wrong))
    return LoadResult(tuple(documents), tuple(problems + _duplicates(documents)))


def _load_one(data: bytes, path: str, known: KindMap) -> tuple[list[LocatedPolicy], list[DocumentProblem]]:
    if len(data) > MAX_BYTES:
        size = f"{len(data) / MAX_BYTES:.1f} MiB"
        return [], [_problem(path, _START, f"the file is too large ({size}, 1 MiB is allowed): split it")]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"not text: byte 0x{data[error.start]:02x} at offset {error.start} is not UTF-8"
        return [], [_problem(path, _START, f"{what}: save the file as UTF-8")]
    if path.endswith(".json"):
        text = text.replace("\t", " ")  # JSON allows tabs between values, never inside them
    nodes, flaws = parser.parse_yaml(text)
    problems = [_problem(path, flaw.position, flaw.message) for flaw in flaws]
    if not nodes and not flaws:
        problems.append(_problem(path, _START, "the file is empty: give it a document, or leave it out"))
    documents = []
    for node in nodes:
        document = _load_document(node, path, known)
        if isinstance(document, LocatedPolicy):
            documents.append(document)
        else:
            problems += document
    return documents, problems


def _load_document(node: YamlNode, path: str, known: KindMap) -> LocatedPolicy | list[DocumentProblem]:
    """The document, or what is wrong with it."""
    if not isinstance(node.value, dict):
        message = (
            f"a document with apiVersion, kind, metadata and spec is expected, not {format_value(node.value)}"
        )
        return [_problem(path, node.position, f"{message}: see `mesh schema KIND --explain`")]
    name = node.value.get("kind")
    kind = known.get(name) if isinstance(name, str) else None
    if kind is None:
        return [_unknown_kind(node, path, known)]
    try:
        policy = kind.model_validate(node.value)
    except ValidationError as error:
        return [
            _problem(path, _error_position(node, detail["type"], detail["loc"]), error_message(kind, detail))
            for detail in distinct_errors(error)
        ]
    return LocatedPolicy(policy, path, *node.position, node.value, node)


def _unknown_kind(node: YamlNode, path: str, allowed: KindMap) -> DocumentProblem:
    known = ", ".join(allowed)
    if "kind" not in node.children:
        return _problem(path, node.position, f"kind: missing: add one of {known}")
    name = node.value["kind"]
    near = closest_match(name, allowed) if isinstance(name, str) else ""
    advice = f"did you mean {near}?" if near else f"use one of {known}"
    return _problem(
        path, node.children["kind"][1].position, f"kind: {format_value(name)} is unknown: {advice}"
    )


def _error_position(node: YamlNode, error: str, path: tuple[int | str, ...]) -> Position:
    """The key of a wrong name, else the value; of what is missing, the mapping it is missing from."""
    named = [part for part in path if part != "[key]"]
    key, found = parser.find_node(node, named)
    return key if error == "extra_forbidden" or len(named) < len(path) else found.position


def _capped(problems: list[DocumentProblem]) -> list[DocumentProblem]:
    if len(problems) <= MAX_PROBLEMS:
        return problems
    last = problems[MAX_PROBLEMS - 1]
    more = len(problems) - MAX_PROBLEMS
    rest = replace(last, message=f"{more} more problems follow: correct these first")
    return [*problems[:MAX_PROBLEMS], rest]


def _duplicates(documents: Iterable[LocatedPolicy]) -> list[DocumentProblem]:
    first: dict[str, LocatedPolicy] = {}
    problems = []
    for document in documents:
        other = first.setdefault(document.policy.ref, document)
        if other is not document:
            place = f"{other.path}:{other.line}:{other.column}"
            message = f"{document.policy.ref} is a second document of this name, after {place}: keep one"
            problems.append(document.problem(message, "metadata", "name"))
    return problems
