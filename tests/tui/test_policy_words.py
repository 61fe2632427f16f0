"""How policies and revisions read."""

from __future__ import annotations

from typing import Any

import pytest

from meshwright.control_plane.api.models.base import (
    Condition,
    DocumentChange,
    PolicyStatus,
    RevisionInfo,
    Status,
)
from meshwright.control_plane.api.models.policies import DocumentList
from meshwright.tui.features.policies import view_model
from meshwright.tui.features.policies.view_model import (
    describe_changes,
    policy_status,
    policy_view_models,
    revisions_of,
)

YES = Condition(type="Accepted", status="True", reason="Accepted")


def status(*conditions: Condition, holders: int = 3, acked: int = 3, name: str = "a") -> PolicyStatus:
    return PolicyStatus(kind="Retry", name=name, conditions=conditions, affected=holders, acked=acked)


def bad(type: Any, reason: str, told: Any = "True") -> Condition:
    return Condition(type=type, status=told, reason=reason, message="in its own words")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (status(YES), "● programmed 3/3"),
        (status(YES, acked=1), "◐ pending 1/3"),
        (status(YES, holders=0, acked=0), "○ not needed"),
        (status(YES, bad("Rejected", "EnvoyRefused"), acked=2), "✖ rejected 2/3"),
        (status(YES, bad("Conflicted", "OlderPolicy")), "◐ conflicted"),
        (status(bad("Accepted", "TargetNotFound", "False"), holders=0), "◐ no target"),
        (status(bad("Accepted", "NoEffect", "False")), "◐ no effect"),
        (None, "○ unknown"),
    ],
)
def test_the_worst_condition_is_how_a_policy_stands(given: PolicyStatus | None, words: str) -> None:
    assert str(policy_status(given)) == words


def test_conditions_keep_envoys_own_words() -> None:
    told = status(YES, bad("Rejected", "EnvoyRefused"))
    assert [(one.symbol, one.text) for one in view_model.condition_labels(told)] == [
        ("●", "Accepted"),
        ("✖", "Rejected: in its own words"),
    ]


def document(name: str) -> dict[str, Any]:
    return {"kind": "Retry", "metadata": {"name": name}, "spec": {"targetRefs": [{"kind": "Mesh"}]}}


def test_what_is_bad_stands_first_and_can_be_found_by_its_state() -> None:
    told = Status(
        revision=1,
        store="ok",
        policies=(
            status(YES, name="b"),
            status(YES, bad("Rejected", "EnvoyRefused"), name="c"),
            status(YES, acked=1, name="d"),
        ),
    )
    found = policy_view_models(DocumentList(revision=1, documents=tuple(map(document, "abcd"))), told)
    assert [one.name for one in found] == ["c", "d", "a", "b"]
    assert view_model.policy_count(found) == "4 policies, 2 in trouble"
    assert [one.name for one in found if one.matches("rejected mesh")] == ["c"]
    assert [one.name for one in found if one.matches("retry/b")] == ["b"]


def revision(number: int, *changed: DocumentChange) -> RevisionInfo:
    return RevisionInfo(revision=number, author="ada", time=100.0, message="", changed=changed)


def test_the_history_of_a_policy_is_the_revisions_that_changed_it() -> None:
    mine, other = (
        DocumentChange(kind="Retry", name="a", action="changed"),
        DocumentChange(kind="Retry", name="b", action="created"),
    )
    same = DocumentChange(kind="Retry", name="a", action="unchanged")
    found = revisions_of(
        [revision(3, other, same), revision(2, mine, other), revision(1, other)], "Retry", "a"
    )
    assert [one.revision for one, _ in found] == [2]
    assert view_model.revision_summary(revision(2), 190.0) == "revision 2 · 90 s ago · ada · no reason given"


def test_many_changes_are_counted_and_what_stayed_is_not_told() -> None:
    many = [DocumentChange(kind="Retry", name=str(n), action="deleted") for n in range(6)]
    stayed = DocumentChange(kind="Retry", name="x", action="unchanged")
    told = describe_changes([stayed, *many], 4)
    assert told == [*(f"deleted Retry/{n}" for n in range(4)), "2 more"]
