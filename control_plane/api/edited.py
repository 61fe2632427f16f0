"""Policies as text that a user edits: into documents, and what is wrong with it to the line it stands on.

Pure. The control plane says what is wrong with a document; where in the text that is, only the text tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from control_plane.api import yaml_tree
from control_plane.api.failures import Place
from control_plane.api.operations import Sourced
from control_plane.api.yaml_tree import Node

PATH = "text"
"""What the text is called in the sources of its documents."""

_FIELD = re.compile(r"([A-Za-z][\w-]*(?:\.[A-Za-z][\w-]*|\[[0-9]{1,6}\])*): ")
"""How a problem begins that is about a field: `spec.rules[0].timeout: ...`."""

_PART = re.compile(r"[A-Za-z][\w-]*|[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class Text:
    """A text as documents; none of them may be applied while there are `problems`."""

    documents: tuple[Sourced, ...] = ()
    problems: tuple[Place, ...] = ()
    nodes: tuple[Node, ...] = ()

    def placed(self, problems: Iterable[Place]) -> tuple[Place, ...]:
        """The control plane's problems, each at the line of the field it speaks of."""
        return tuple(self._placed(one) for one in problems)

    def _placed(self, problem: Place) -> Place:
        found = _FIELD.match(problem.message)
        node = next((one for one in self.nodes if one.place.line == problem.line), None)
        if found is None or node is None:
            return problem
        parts = [int(part) if part.isdigit() else part for part in _PART.findall(found[1])]
        place = yaml_tree.find(node, parts)[0]
        return replace(problem, line=place.line, column=place.column)


def read(text: str) -> Text:
    """The documents of a text, and what is wrong with its form. Raises nothing."""
    nodes, flaws = yaml_tree.read(text)
    problems = [Place(PATH, flaw.place.line, flaw.place.column, flaw.message) for flaw in flaws]
    for node in nodes:
        if not isinstance(node.value, Mapping):
            words = "a document with apiVersion, kind, metadata and spec is expected"
            problems.append(Place(PATH, *node.place, words))
    if not nodes and not problems:
        problems.append(Place(PATH, 1, 1, "there is no document: to delete a policy leave and press d"))
    documents = tuple(
        Sourced(node.value, f"{PATH}:{node.place.line}") for node in nodes if isinstance(node.value, Mapping)
    )
    return Text(documents, tuple(problems), tuple(nodes))
