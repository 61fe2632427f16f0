"""Policy files: bytes in, documents or problems out. Every problem is reported, not only the first."""

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
"""Problems reported for one file."""

MAX_MESSAGE = 500
"""Characters of one message."""

_START = Position(1, 1)


@dataclass(frozen=True, slots=True, order=True)
class DocumentProblem:
    """A problem in a file; `str()` is the line that users see. Lines and columns count from 1."""

    path: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.message}"


def _problem(path: str, position: Position, message: str) -> DocumentProblem:
    """A problem whose message is a single line of limited length, whatever it quotes from the file."""
    line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in message[:MAX_MESSAGE])
    return DocumentProblem(path, *position, line if len(message) <= MAX_MESSAGE else f"{line}...")


@dataclass(frozen=True, slots=True)
class LocatedPolicy:
    """A valid document, its position, and `raw`: its content as plain values."""

    policy: Policy
    path: str
    line: int
    column: int
    raw: dict[str, Any]
    node: YamlNode = field(repr=False, compare=False)

    def position(self, *parts: str | int) -> Position:
        """The position of a value, such as `position("spec", "targetRefs", 0, "name")`."""
        return parser.find_node(self.node, parts)[1].position

    def problem(self, message: str, *parts: str | int) -> DocumentProblem:
        """A problem or warning about a value of this document."""
        return _problem(self.path, self.position(*parts), message)


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The documents and the problems; apply nothing while there are problems."""

    documents: tuple[LocatedPolicy, ...] = ()
    problems: tuple[DocumentProblem, ...] = ()


KindMap = Mapping[str, type[Policy]]


def load(data: bytes, path: str, allowed_kinds: KindMap | None = None) -> LoadResult:
    """The documents of one file, YAML or JSON, and its problems. Never raises.

    `allowed_kinds` are the kinds it may contain; all policy kinds by default.
    """
    return load_files([(path, data)], allowed_kinds)


def load_files(files: Iterable[tuple[str, bytes]], allowed_kinds: KindMap | None = None) -> LoadResult:
    """The documents of several files, (path, content) each, which share one set of names."""
    allowed_kinds = kinds() if allowed_kinds is None else allowed_kinds
    documents: list[LocatedPolicy] = []
    problems: list[DocumentProblem] = []
    for path, data in files:
        file_documents, file_problems = _load_one(data, path, allowed_kinds)
        documents += file_documents
        problems += _capped(sorted(file_problems))
    return LoadResult(tuple(documents), tuple(problems + _duplicates(documents)))


def _load_one(data: bytes, path: str, allowed: KindMap) -> tuple[list[LocatedPolicy], list[DocumentProblem]]:
    if len(data) > MAX_BYTES:
        size = f"{len(data) / MAX_BYTES:.1f} MiB"
        return [], [_problem(path, _START, f"the file is too large ({size}; the limit is 1 MiB): split it")]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"not text: byte 0x{data[error.start]:02x} at offset {error.start} is not UTF-8"
        return [], [_problem(path, _START, f"{reason}: save the file as UTF-8")]
    if path.endswith(".json"):
        text = text.replace("\t", " ")  # JSON allows tabs between values, never inside them
    nodes, syntax = parser.parse_yaml(text)
    problems = [_problem(path, problem.position, problem.message) for problem in syntax]
    if not nodes and not syntax:
        problems.append(_problem(path, _START, "the file is empty: add a document, or leave the file out"))
    documents = []
    for node in nodes:
        document = _load_document(node, path, allowed)
        if isinstance(document, LocatedPolicy):
            documents.append(document)
        else:
            problems += document
    return documents, problems


def _load_document(node: YamlNode, path: str, allowed: KindMap) -> LocatedPolicy | list[DocumentProblem]:
    """The document, or its problems."""
    if not isinstance(node.value, dict):
        message = (
            f"expected a document with apiVersion, kind, metadata and spec, got {format_value(node.value)}"
        )
        return [_problem(path, node.position, f"{message}: see `mesh schema KIND --explain`")]
    name = node.value.get("kind")
    kind = allowed.get(name) if isinstance(name, str) else None
    if kind is None:
        return [_unknown_kind(node, path, allowed)]
    try:
        policy = kind.model_validate(node.value)
    except ValidationError as error:
        return [
            _problem(path, _error_position(node, detail["type"], detail["loc"]), error_message(kind, detail))
            for detail in distinct_errors(error)
        ]
    return LocatedPolicy(policy, path, *node.position, node.value, node)


def _unknown_kind(node: YamlNode, path: str, allowed: KindMap) -> DocumentProblem:
    names = ", ".join(allowed)
    if "kind" not in node.children:
        return _problem(path, node.position, f"kind: missing: add one of {names}")
    name = node.value["kind"]
    match = closest_match(name, allowed) if isinstance(name, str) else ""
    advice = f"did you mean {match}?" if match else f"use one of {names}"
    return _problem(
        path, node.children["kind"][1].position, f"kind: {format_value(name)} is unknown: {advice}"
    )


def _error_position(node: YamlNode, error: str, path: tuple[int | str, ...]) -> Position:
    """The position of an invalid key or value; for a missing field that of the mapping it belongs in."""
    names = [part for part in path if part != "[key]"]
    key, value = parser.find_node(node, names)
    return key if error == "extra_forbidden" or len(names) < len(path) else value.position


def _capped(problems: list[DocumentProblem]) -> list[DocumentProblem]:
    if len(problems) <= MAX_PROBLEMS:
        return problems
    last = problems[MAX_PROBLEMS - 1]
    omitted = len(problems) - MAX_PROBLEMS
    rest = replace(last, message=f"{omitted} more problems follow: correct these first")
    return [*problems[:MAX_PROBLEMS], rest]


def _duplicates(documents: Iterable[LocatedPolicy]) -> list[DocumentProblem]:
    first: dict[str, LocatedPolicy] = {}
    problems = []
    for document in documents:
        other = first.setdefault(document.policy.ref, document)
        if other is not document:
            position = f"{other.path}:{other.line}:{other.column}"
            message = f"{document.policy.ref} is already defined at {position}: keep one"
            problems.append(document.problem(message, "metadata", "name"))
    return problems
