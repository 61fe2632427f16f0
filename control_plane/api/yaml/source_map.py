"""Policies as text that a user edits: its documents, and the line of each problem in them. Pure.

The control plane reports what is wrong with a field of a document; only the text knows the field's line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from meshwright.control_plane.api.calls import SourcedDocument
from meshwright.control_plane.api.errors import SourceProblem
from meshwright.control_plane.api.yaml.parser import YamlNode, find_node, parse_yaml

PATH = "text"
"""The text's name in the sources of its documents."""

_FIELD = re.compile(r"([A-Za-z][\w-]*(?:\.[A-Za-z][\w-]*|\[[0-9]{1,6}\])*): ")
"""The start of a message about a field: `spec.rules[0].timeout: ...`."""

_PART = re.compile(r"[A-Za-z][\w-]*|[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class PolicyText:
    """A text as documents; they cannot be applied while there are `problems`."""

    documents: tuple[SourcedDocument, ...] = ()
    problems: tuple[SourceProblem, ...] = ()
    nodes: tuple[YamlNode, ...] = ()

    def locate(self, problems: Iterable[SourceProblem]) -> tuple[SourceProblem, ...]:
        """The control plane's problems, each moved to the line of the field it names."""
        return tuple(locate(problem, self.nodes) for problem in problems)


def locate(problem: SourceProblem, nodes: Iterable[YamlNode]) -> SourceProblem:
    """The problem of one of these documents, which begins at its line, moved to the field that it names."""
    field = _FIELD.match(problem.message)
    node = next((node for node in nodes if node.position.line == problem.line), None)
    if field is None or node is None:
        return problem
    path = [int(part) if part.isdigit() else part for part in _PART.findall(field[1])]
    position = find_node(node, path)[0]
    return replace(problem, line=position.line, column=position.column)


def parse_text(text: str) -> PolicyText:
    """The documents of a text, and its syntax problems. Raises nothing."""
    nodes, syntax_problems = parse_yaml(text)
    problems = [SourceProblem(PATH, *problem.position, problem.message) for problem in syntax_problems]
    for node in nodes:
        if not isinstance(node.value, Mapping):
            message = "expected a document with apiVersion, kind, metadata and spec"
            problems.append(SourceProblem(PATH, *node.position, message))
    if not nodes and not problems:
        message = "there is no document: to delete a policy, cancel and press d"
        problems.append(SourceProblem(PATH, 1, 1, message))
    documents = tuple(
        SourcedDocument(node.value, f"{PATH}:{node.position.line}")
        for node in nodes
        if isinstance(node.value, Mapping)
    )
    return PolicyText(documents, tuple(problems), tuple(nodes))
