"""A change in words: field by field, short, and without secrets."""

from __future__ import annotations

from typing import Any

import pytest

from meshwright.control_plane.api.models.revisions import DocumentChange
from meshwright.control_plane.status.field_changes import TEXT_LENGTH, field_changes, planned_change


def document(spec: Any) -> dict[str, Any]:
    return {"kind": "Retry", "metadata": {"name": "r"}, "spec": spec}


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({"attempts": 2}, {"attempts": 2}, []),
        ({"attempts": 2}, {"attempts": 3}, [("spec.attempts", "2", "3")]),
        ({"a": 1, "b": True}, {"b": 1}, [("spec.a", "1", ""), ("spec.b", "true", "1")]),
        ({}, {"backoff": {"base": "1s"}}, [("spec.backoff", "", "{base: 1s}")]),
        ({"value": "2"}, {"value": 2}, [("spec.value", '"2"', "2")]),
        ({"value": ""}, {"value": "a b"}, [("spec.value", '""', "a b")]),
        ({"on": ["5xx"]}, {"on": ["reset", "5xx"]}, [("spec.on", "[5xx]", "[reset, 5xx]")]),
        (
            {"rules": [{"name": "a", "n": 1}, {"name": "b"}]},
            {"rules": [{"name": "new"}, {"name": "a", "n": 1}, {"name": "b"}]},
            [("spec.rules[0]", "", "{name: new}")],
        ),
        (
            {"rules": [{"name": "a", "n": 1}, {"name": "b"}, {"name": "c"}]},
            {"rules": [{"name": "a", "n": 2}]},
            [
                ("spec.rules[0].n", "1", "2"),
                ("spec.rules[1]", "{name: b}", ""),
                ("spec.rules[2]", "{name: c}", ""),
            ],
        ),
        ({"rules": [{"a": 1}]}, {"rules": []}, [("spec.rules", "[{a: 1}]", "[]")]),
    ],
)
def test_each_field_that_differs_is_one_change(
    before: dict[str, Any], after: dict[str, Any], changes: list[tuple[str, str, str]]
) -> None:
    changed_fields = field_changes([document(before)], [document(after)]).get(("Retry", "r"), ())
    assert [(change.field, change.before, change.after) for change in changed_fields] == changes


def test_documents_that_are_new_or_deleted_have_no_fields() -> None:
    assert field_changes([], [document({"a": 1})]) == field_changes([document({"a": 1})], []) == {}


def test_a_plan_lists_the_first_fields_and_shortens_long_values() -> None:
    before = {f"f{number}": "x" * 1000 for number in range(30)}
    changed_fields = field_changes([document(before)], [document({})])["Retry", "r"]
    plan = planned_change(DocumentChange(kind="Retry", name="r", action="changed"), changed_fields)
    assert (len(plan.fields), plan.more_fields) == (20, 10)
    assert plan.fields[0].before == "x" * (TEXT_LENGTH - 1) + "…"
