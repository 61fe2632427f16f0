"""Policies and revisions as text and rows."""

from __future__ import annotations

from typing import Any

import pytest

from meshwright.control_plane.api.models.policies import (
    Condition,
    DocumentList,
    ListenerStatus,
    PolicyState,
    PolicyStatus,
)
from meshwright.control_plane.api.models.revisions import DocumentChange, RevisionInfo
from meshwright.control_plane.api.models.status import Status
from meshwright.tui.features.policies.revision_rows import revisions_of
from meshwright.tui.features.policies.view_model import (
    condition_labels,
    listener_labels,
    policy_count,
    policy_label,
    policy_view_models,
)
from meshwright.tui.revision_text import describe_changes, revision_summary

ACCEPTED = Condition(type="Accepted", status="True", reason="Accepted")
REJECTED = Condition(type="Rejected", status="True", reason="EnvoyRejected", message="Envoy's message")


def status(
    state: PolicyState, *conditions: Condition, affected: int = 3, acked: int = 3, name: str = "a"
) -> PolicyStatus:
    return PolicyStatus(
        kind="Retry", name=name, state=state, conditions=conditions, affected=affected, acked=acked
    )


@pytest.mark.parametrize(
    ("policy", "label"),
    [
        (status("programmed"), "● programmed 3/3"),
        (status("pending", acked=1), "▲ pending 1/3"),
        (status("unused", affected=0, acked=0), "○ unused"),
        (status("rejected", acked=2), "× rejected 2/3"),
        (status("conflicted"), "▲ conflicted"),
        (status("target-not-found", affected=0), "▲ target not found"),
        (status("no-effect"), "▲ no effect"),
        (status("partial"), "▲ partial"),
        (None, "○ unknown"),
    ],
)
def test_a_policys_label_is_the_control_planes_state(policy: PolicyStatus | None, label: str) -> None:
    assert str(policy_label(policy)) == label


def test_condition_labels_keep_envoys_message() -> None:
    labels = condition_labels(status("rejected", ACCEPTED, REJECTED))
    assert [(label.symbol, label.text) for label in labels] == [
        ("●", "Accepted"),
        ("×", "Rejected: Envoy's message"),
    ]


def test_listener_labels_say_where_gateways_listen_and_what_is_wrong() -> None:
    def listener(name: str, *conditions: Condition, routes: int = 0) -> ListenerStatus:
        return ListenerStatus(
            name=name,
            port=80,
            bound_port=8080,
            protocol="HTTP",
            attached_routes=routes,
            conditions=conditions,
        )

    wrong = Condition(type="ResolvedRefs", status="False", reason="InvalidRouteKinds", message="no TLSRoute")
    gateway = PolicyStatus(
        kind="Gateway",
        name="g",
        listeners=(listener("a", ACCEPTED, routes=1), listener("b", ACCEPTED, wrong)),
    )
    assert [(label.symbol, label.text) for label in listener_labels(gateway)] == [
        ("●", "listener a: HTTP *:8080, 1 route attached"),
        ("▲", "listener b: HTTP *:8080, 0 routes attached: no TLSRoute"),
    ]


def document(name: str) -> dict[str, Any]:
    return {"kind": "Retry", "metadata": {"name": name}, "spec": {"targetRefs": [{"kind": "Mesh"}]}}


def test_policies_are_sorted_by_state_and_found_by_state() -> None:
    mesh = Status(
        revision=1,
        store="ok",
        policies=(
            status("programmed", name="b"),
            status("rejected", name="c"),
            status("pending", acked=1, name="d"),
        ),
    )
    documents = DocumentList(revision=1, documents=tuple(map(document, "abcd")))
    policies = policy_view_models(documents, mesh)
    assert [policy.name for policy in policies] == ["c", "d", "b", "a"]
    assert policy_count(policies) == "4 policies, 2 with problems"
    assert [policy.name for policy in policies if policy.matches("rejected mesh")] == ["c"]
    assert [policy.name for policy in policies if policy.matches("retry/b")] == ["b"]


def revision(number: int, *changed: DocumentChange) -> RevisionInfo:
    return RevisionInfo(revision=number, author="ada", time=100.0, message="", changed=changed)


def change(name: str, action: Any) -> DocumentChange:
    return DocumentChange(kind="Retry", name=name, action=action)


def test_the_history_of_a_policy_has_only_revisions_that_changed_it() -> None:
    mine, other, same = change("a", "changed"), change("b", "created"), change("a", "unchanged")
    revisions = [revision(3, other, same), revision(2, mine, other), revision(1, other)]
    assert [info.revision for info, _ in revisions_of(revisions, "Retry", "a")] == [2]


def test_a_revision_without_a_message_says_so() -> None:
    assert revision_summary(revision(2), 190.0) == "revision 2 · 90 s ago · ada · no message"


def test_many_changes_are_counted_and_unchanged_documents_omitted() -> None:
    changes = [change("x", "unchanged"), *(change(str(n), "deleted") for n in range(6))]
    assert describe_changes(changes, 4) == [*(f"deleted Retry/{n}" for n in range(4)), "2 more"]
