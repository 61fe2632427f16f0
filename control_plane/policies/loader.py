"""Policy files: bytes in, documents or problems out. Every problem is reported, not only the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
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

OWN_GROUP = "meshwright.io"
GATEWAY_GROUP = "gateway.networking.k8s.io"

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
    skipped: tuple[DocumentProblem, ...] = ()
    """Documents of kinds that the mesh does not know, if the caller wanted to skip them."""


KindMap = Mapping[str, type[Policy]]

ReadFile = Callable[[str, str, int], str]
"""Text of a file that a document names: (the document's file, the name, maximum bytes) → content.

Raises ValueError with what is wrong and what to do.
"""


def load(data: bytes, path: str, allowed_kinds: KindMap | None = None) -> LoadResult:
    """The documents of one file, YAML or JSON, and its problems. Never raises.

    `allowed_kinds` are the kinds it may contain; all policy kinds by default.
    """
    return load_files([(path, data)], allowed_kinds)


def load_files(
    files: Iterable[tuple[str, bytes]],
    allowed_kinds: KindMap | None = None,
    *,
    skip_unknown: bool = False,
    read_file: ReadFile | None = None,
) -> LoadResult:
    """The documents of several files, (path, content) each, which share one set of names.

    With `skip_unknown`, documents of foreign kinds are skipped instead of a problem. Fields that name a file
    get its content from `read_file`; without it they are a problem.
    """
    allowed_kinds = kinds() if allowed_kinds is None else allowed_kinds
    documents: list[LocatedPolicy] = []
    problems: list[DocumentProblem] = []
    skipped: list[DocumentProblem] = []
    for path, data in files:
        result = _load_one(data, path, allowed_kinds, skip_unknown=skip_unknown, read_file=read_file)
        documents += result.documents
        problems += _capped(sorted(result.problems))
        skipped += result.skipped
    problems += [*_duplicates(documents), *_foreign_namespaces(documents)]
    return LoadResult(tuple(documents), tuple(problems), tuple(skipped))


def _load_one(
    data: bytes, path: str, allowed: KindMap, *, skip_unknown: bool, read_file: ReadFile | None
) -> LoadResult:
    if len(data) > MAX_BYTES:
        size = f"{len(data) / MAX_BYTES:.1f} MiB"
        message = f"the file is too large ({size}; the limit is 1 MiB): split it"
        return LoadResult(problems=(_problem(path, _START, message),))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"not text: byte 0x{data[error.start]:02x} at offset {error.start} is not UTF-8"
        return LoadResult(problems=(_problem(path, _START, f"{reason}: save the file as UTF-8"),))
    if path.endswith(".json"):
        text = text.replace("\t", " ")  # JSON allows tabs between values, never inside them
    nodes, syntax = parser.parse_yaml(text)
    problems = [_problem(path, problem.position, problem.message) for problem in syntax]
    if not nodes and not syntax:
        problems.append(_problem(path, _START, "the file is empty: add a document, or leave the file out"))
    documents = []
    skipped = []
    for node in (item for top_level in nodes for item in _documents_in(top_level)):
        if skip_unknown and is_foreign(node.value):
            message = f"kind {format_value(node.value['kind'])} is not a policy of the mesh: skipped"
            skipped.append(_problem(path, node.position, message))
            continue
        document = _load_document(node, path, allowed, read_file)
        if isinstance(document, LocatedPolicy):
            documents.append(document)
        else:
            problems += document
    return LoadResult(tuple(documents), tuple(problems), tuple(skipped))


def _documents_in(node: YamlNode) -> Iterator[YamlNode]:
    """The documents of a node: the entries of a list or of a Kubernetes List, or the node itself."""
    kind = node.value.get("kind") if isinstance(node.value, dict) else ""
    is_list = isinstance(kind, str) and kind.endswith("List") and isinstance(node.value.get("items"), list)
    entries = node.children["items"][1] if is_list else node
    if isinstance(entries.value, list) and all(isinstance(entry, dict) for entry in entries.value):
        for _, entry in entries.children.values():
            yield from _documents_in(entry)
    else:
        yield node


def is_foreign(document: Any) -> bool:
    """Whether a document is of a kind that the mesh does not implement, by its apiVersion and kind.

    An unknown kind of the mesh's own group is not foreign: it is a typing error.
    """
    if not isinstance(document, dict) or not isinstance(kind := document.get("kind"), str):
        return False
    group = str(document.get("apiVersion", OWN_GROUP)).partition("/")[0]
    return group != OWN_GROUP and (group != GATEWAY_GROUP or kind not in kinds())


def _load_document(
    node: YamlNode, path: str, allowed: KindMap, read_file: ReadFile | None
) -> LocatedPolicy | list[DocumentProblem]:
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
        context: dict[str, object] = {"may_be_redacted": True}
        if read_file:
            context["read_file"] = partial(read_file, path)
        policy = kind.model_validate(node.value, context=context)
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
    can_skip = allowed == kinds() and is_foreign(node.value)
    skip = " (`mesh apply --skip-unknown` skips it)" if can_skip else ""
    advice = f"did you mean {match}?{skip}" if match else f"use one of {names}{skip}"
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


def _foreign_namespaces(documents: Iterable[LocatedPolicy]) -> list[DocumentProblem]:
    """A problem for each document whose namespace differs from the first one's."""
    with_namespace = [document for document in documents if document.policy.metadata.namespace]
    first = with_namespace[0].policy.metadata.namespace if with_namespace else ""
    return [
        document.problem(
            f"metadata.namespace: {different_namespace(document.policy.metadata.namespace, first)}",
            "metadata",
            "namespace",
        )
        for document in with_namespace
        if document.policy.metadata.namespace != first
    ]


def different_namespace(namespace: str, first: str) -> str:
    """The message for a document of another namespace than the first one of the same change."""
    return (
        f"{namespace!r} differs from {first!r}, and a mesh is one namespace: "
        "give all documents of a change the same one, or none"
    )
