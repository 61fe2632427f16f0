"""Edited text: its documents, and problems at the lines they are about."""

from __future__ import annotations

import pytest

from meshwright.control_plane.admin.errors import DocumentsError
from meshwright.control_plane.admin.routers.policies import validated
from meshwright.control_plane.api.errors import SourceProblem
from meshwright.control_plane.api.models.policies import DocumentInput
from meshwright.control_plane.api.yaml import source_map

TWO = """# a remark
apiVersion: meshwright.io/v1
kind: Retry
metadata:
  name: again
spec:
  targetRefs: [{kind: Mesh}]
  attempts: many
---
apiVersion: meshwright.io/v1
kind: Timeout
metadata: {name: fast}
spec:
  targetRefs:
    - kind: Service
      name: orders
    - kind: Servise
      name: orders
  request: 1s
"""


def refused(text: str) -> tuple[SourceProblem, ...]:
    """What the control plane says, as it comes over the wire."""
    documents = [
        DocumentInput(document=dict(one.document), source=one.source)
        for one in source_map.parse_text(text).documents
    ]
    with pytest.raises(DocumentsError) as error:
        validated(documents)
    return tuple(SourceProblem(one.path, one.line, one.column, one.message) for one in error.value.problems)


def test_a_problem_stands_on_the_line_of_its_field() -> None:
    found = source_map.parse_text(TWO)
    assert not found.problems
    assert [one.source for one in found.documents] == ["text:2", "text:10"]
    placed = found.locate(refused(TWO))
    lines = TWO.splitlines()
    assert ["attempts" in lines[placed[0].line - 1], "Servise" in lines[placed[1].line - 1]] == [True, True]
    assert placed[0].message.startswith("spec.attempts: ")


def test_what_is_missing_stands_where_it_belongs() -> None:
    head = "apiVersion: meshwright.io/v1\nkind: Retry\nmetadata:\n  name: again\n"
    text = f"{head}spec:\n  targetRefs: [{{kind: Service}}]\n"
    (placed,) = source_map.parse_text(text).locate(refused(text))
    assert text.splitlines()[placed.line - 1].strip().startswith("targetRefs")


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("kind: Retry\nspec: [\n", 3, "not valid YAML"),
        ("kind: Retry\nkind: Retry\n", 2, "occurs twice"),
        ("- a\n", 1, "a document with"),
        ("# nothing but a remark\n", 1, "no document"),
    ],
)
def test_text_that_is_no_document_is_told_with_its_line(text: str, line: int, words: str) -> None:
    problem = source_map.parse_text(text).problems[0]
    assert (problem.line, words in problem.message) == (line, True), problem


def test_a_problem_without_a_field_stays_at_its_document() -> None:
    given = SourceProblem("text", 10, 1, "Timeout/fast is also at text:2: keep one of them")
    assert source_map.parse_text(TWO).locate([given]) == (given,)
