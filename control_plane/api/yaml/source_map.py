"""Policies as text that a user edits: into documents, and what is wrong with it to the line it stands on.

Pure. The control plane says what is wrong with a document; where in the text that is, only the text tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from meshwright.control_plane.api.calls import SourcedDocument
from meshwright.control_plane.api.errors import SourceProblem
from meshwright.control_plane.api.yaml import parser
from meshwright.control_plane.api.yaml.parser import YamlNode

PATH = "text"
"""What the text is called in the sources of its documents."""

_FIELD = re.compile(r"([A-Za-z][\w-]*(?:\.[A-Za-z][\w-]*|\[[0-9]{1,6}\])*): ")
"""How a problem begins that is about a field: `spec.rules[0].timeout: ...`."""

_PART = re.compile(r"[A-Za-z][\w-]*|[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class PolicyText:
    """A text as documents; none of them may be applied while there are `problems`."""

    documents: tuple[SourcedDocument, ...] = ()
    problems: tuple[SourceProblem, ...] = ()
    nodes: tuple[YamlNode, ...] = ()

    def locate(self, problems: Iterable[SourceProblem]) -> tuple[SourceProblem, ...]:
        """The control plane's problems, each at the line of the field it speaks of."""
        return tuple(self._locate(one) for one in problems)

    def _locate(self, problem: SourceProblem) -> SourceProblem:
        found = _FIELD.match(problem.message)
        node = next((one for one in self.nodes if one.position.line == problem.line), None)
        if found is None or node is None:
            return problem
        parts = [int(part) if part.isdigit() else part for part in _PART.findall(found[1])]
        place = parser.find_node(node, parts)[0]
        return replace(problem, line=place.line, column=place.column)


def parse_text(text: str) -> PolicyText:
    """The documents of a text, and what is wrong with its form. Raises nothing."""
    nodes, flaws = parser.parse_yaml(text)
    problems = [SourceProblem(PATH, flaw.position.line, flaw.position.column, flaw.message) for flaw in flaws]
    for node in nodes:
        if not isinstance(node.value, Mapping):
            words = "a document with apiVersion, kind, metadata and spec is expected"
            problems.append(SourceProblem(PATH, *node.position, words))
    if not nodes and not problems:
        problems.append(
            SourceProblem(PATH, 1, 1, "there is no document: to delete a policy leave and press d")
        )
    documents = tuple(
        SourcedDocument(node.value, f"{PATH}:{node.position.line}")
        for node in nodes
        if isinstance(node.value, Mapping)
    )
    return PolicyText(documents, tuple(problems), tuple(nodes))
