"""Policy files: bytes in, documents or problems out. Every problem is found, not only the first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from control_plane.api import yaml_tree
from control_plane.api.yaml_tree import Node, Place
from control_plane.policies.base import Policy
from control_plane.policies.registry import kinds
from control_plane.policies.wording import closest, details, say, shown

MAX_BYTES = 1 << 20
MAX_PROBLEMS = 100
"""Problems reported for one file; more help nobody."""
MAX_MESSAGE = 500

_START = Place(1, 1)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Something wrong in a file; its text is the line that users see. Lines and columns count from 1."""

    path: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.message}"


def _problem(path: str, place: Place, message: str) -> Problem:
    """A problem whose message is one line of sane length, whatever of the file it quotes."""
    line = "".join(char if char.isprintable() else repr(char)[1:-1] for char in message[:MAX_MESSAGE])
    return Problem(path, *place, line if len(message) <= MAX_MESSAGE else f"{line}...")


@dataclass(frozen=True, slots=True)
class Located:
    """A valid document, where it begins, and `raw`: what was written, as plain values."""

    policy: Policy
    path: str
    line: int
    column: int
    raw: dict[str, Any]
    node: Node = field(repr=False, compare=False)

    def place(self, *parts: str | int) -> Place:
        """Where a value stands, such as `place("spec", "targetRefs", 0, "name")`."""
        return yaml_tree.find(self.node, parts)[1].place

    def problem(self, message: str, *parts: str | int) -> Problem:
        """A problem or warning about a value of this document."""
        return _problem(self.path, self.place(*parts), message)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was read: nothing of it may be applied while there are problems."""

    documents: tuple[Located, ...] = ()
    problems: tuple[Problem, ...] = ()


Kinds = Mapping[str, type[Policy]]


def load(data: bytes, path: str, known: Kinds | None = None) -> Loaded:
    """The documents of one file, YAML or JSON, and all that is wrong with it. Raises nothing.

    `known` are the kinds it may hold; left out: all policy kinds.
    """
    return load_files([(path, data)], known)


def load_files(files: Iterable[tuple[str, bytes]], known: Kinds | None = None) -> Loaded:
    """The documents of several files, (path, content) each; all of them share one set of names."""
    known = kinds() if known is None else known
    documents: list[Located] = []
    problems: list[Problem] = []
    for path, data in files:
        found, wrong = _load_one(data, path, known)
        documents += found
        problems += _bounded(sorted(wrong))
    return Loaded(tuple(documents), tuple(problems + _repeated(documents)))


def _load_one(data: bytes, path: str, known: Kinds) -> tuple[list[Located], list[Problem]]:
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
    nodes, flaws = yaml_tree.read(text)
    problems = [_problem(path, flaw.place, flaw.message) for flaw in flaws]
    if not nodes and not flaws:
        problems.append(_problem(path, _START, "the file is empty: give it a document, or leave it out"))
    documents = []
    for node in nodes:
        document = _document(node, path, known)
        if isinstance(document, Located):
            documents.append(document)
        else:
            problems += document
    return documents, problems


def _document(node: Node, path: str, known: Kinds) -> Located | list[Problem]:
    """The document, or what is wrong with it."""
    if not isinstance(node.value, dict):
        message = f"a document with apiVersion, kind, metadata and spec is expected, not {shown(node.value)}"
        return [_problem(path, node.place, f"{message}: see `mesh schema KIND --explain`")]
    name = node.value.get("kind")
    kind = known.get(name) if isinstance(name, str) else None
    if kind is None:
        return [_unknown_kind(node, path, known)]
    try:
        policy = kind.model_validate(node.value)
    except ValidationError as error:
        return [
            _problem(path, _where(node, detail["type"], detail["loc"]), say(kind, detail))
            for detail in details(error)
        ]
    return Located(policy, path, *node.place, node.value, node)


def _unknown_kind(node: Node, path: str, allowed: Kinds) -> Problem:
    known = ", ".join(allowed)
    if "kind" not in node.parts:
        return _problem(path, node.place, f"kind: missing: add one of {known}")
    name = node.value["kind"]
    near = closest(name, allowed) if isinstance(name, str) else ""
    advice = f"did you mean {near}?" if near else f"use one of {known}"
    return _problem(path, node.parts["kind"][1].place, f"kind: {shown(name)} is unknown: {advice}")


def _where(node: Node, error: str, path: tuple[int | str, ...]) -> Place:
    """The key of a wrong name, else the value; of what is missing, the mapping it is missing from."""
    named = [part for part in path if part != "[key]"]
    key, found = yaml_tree.find(node, named)
    return key if error == "extra_forbidden" or len(named) < len(path) else found.place


def _bounded(problems: list[Problem]) -> list[Problem]:
    if len(problems) <= MAX_PROBLEMS:
        return problems
    last = problems[MAX_PROBLEMS - 1]
    more = len(problems) - MAX_PROBLEMS
    rest = replace(last, message=f"{more} more problems follow: correct these first")
    return [*problems[:MAX_PROBLEMS], rest]


def _repeated(documents: Iterable[Located]) -> list[Problem]:
    first: dict[str, Located] = {}
    problems = []
    for document in documents:
        other = first.setdefault(document.policy.ref, document)
        if other is not document:
            place = f"{other.path}:{other.line}:{other.column}"
            message = f"{document.policy.ref} is a second document of this name, after {place}: keep one"
            problems.append(document.problem(message, "metadata", "name"))
    return problems
