"""Edited text: its documents, and problems at the lines of the fields they name."""

from __future__ import annotations

import asyncio

import pytest

from meshwright.control_plane.admin.errors import DocumentsError
from meshwright.control_plane.admin.policy_validation import validate
from meshwright.control_plane.api.errors import SourceProblem
from meshwright.control_plane.api.models.policies import DocumentInput
from meshwright.control_plane.api.yaml.source_map import parse_text

TWO_DOCUMENTS = """# a comment
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


def server_problems(text: str) -> tuple[SourceProblem, ...]:
    """The control plane's problems with a text, as they arrive over the API."""
    inputs = [
        DocumentInput(document=dict(document.document), source=document.source)
        for document in parse_text(text).documents
    ]
    with pytest.raises(DocumentsError) as error:
        asyncio.run(validate(inputs))
    return tuple(
        SourceProblem(problem.path, problem.line, problem.column, problem.message)
        for problem in error.value.problems
    )


def test_a_problem_moves_to_the_line_of_its_field() -> None:
    text = parse_text(TWO_DOCUMENTS)
    assert not text.problems
    assert [document.source for document in text.documents] == ["text:2", "text:10"]
    located = text.locate(server_problems(TWO_DOCUMENTS))
    lines = TWO_DOCUMENTS.splitlines()
    assert "attempts" in lines[located[0].line - 1]
    assert "Servise" in lines[located[1].line - 1]
    assert located[0].message.startswith("spec.attempts: ")


def test_a_missing_field_is_located_at_its_parent() -> None:
    head = "apiVersion: meshwright.io/v1\nkind: Retry\nmetadata:\n  name: again\n"
    text = f"{head}spec:\n  targetRefs: [{{kind: Service}}]\n"
    (located,) = parse_text(text).locate(server_problems(text))
    assert text.splitlines()[located.line - 1].strip().startswith("targetRefs")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("kind: Retry\nspec: [\n", 3, "not valid YAML"),
        ("kind: Retry\nkind: Retry\n", 2, "occurs twice"),
        ("- a\n", 1, "expected a document with"),
        ("# only a comment\n", 1, "no document"),
    ],
)
def test_text_without_a_document_has_a_problem_with_its_line(text: str, line: int, message: str) -> None:
    problem = parse_text(text).problems[0]
    assert (problem.line, message in problem.message) == (line, True), problem


def test_a_problem_without_a_field_stays_at_its_document() -> None:
    problem = SourceProblem("text", 10, 1, "Timeout/fast is also at text:2: keep one of them")
    assert parse_text(TWO_DOCUMENTS).locate([problem]) == (problem,)
