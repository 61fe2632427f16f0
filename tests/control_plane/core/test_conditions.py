"""What users are told of each policy."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.models.base import Condition
from meshwright.control_plane.status.conditions import RolloutCount, policy_statuses, reference_warnings
from tests.control_plane.core.worlds import exchange, mesh, route, subset

CATALOG = "{kind: Service, name: catalog}"


def conditions(text: str, name: str, delivery: RolloutCount | None = None) -> dict[str, Condition]:
    given = exchange(text)
    ref = next(one.ref for one in given.documents if one.policy.name == name)
    found = policy_statuses(given, {ref: delivery} if delivery else {})
    status = next(one for one in found if one.name == name)
    return {one.type: one for one in status.conditions}


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (mesh("Timeout", "x", "request: 1s", "{kind: Service, name: nobody}"), "Service nobody"),
        (mesh("Timeout", "x", "request: 1s", "{kind: HTTPRoute, name: nobody}"), "HTTPRoute nobody"),
        (route("x", "{backendRefs: [{name: nobody}]}"), "Service nobody"),
        (route("x", "{backendRefs: [{name: orders}]}", "{name: nobody}"), "Gateway nobody"),
        (route("x", "{backendRefs: [{group: meshwright.io, kind: Subset, name: none}]}"), "Subset none"),
        (subset("x", "nobody"), "Service nobody"),
    ],
)
def test_names_that_lead_nowhere(text: str, word: str) -> None:
    found = conditions(text, "x")["Accepted"]
    assert (found.status, found.reason) == ("False", "TargetNotFound")
    assert word in found.message
    given = exchange(text)
    assert [word in line for line in reference_warnings(given, given.documents)] == [True]


def test_a_younger_rival_is_conflicted() -> None:
    text = mesh("Timeout", "a", "request: 1s", CATALOG) + mesh("Timeout", "b", "request: 2s", CATALOG)
    assert "Conflicted" not in conditions(text, "a")
    assert "Timeout/a" in conditions(text, "b")["Conflicted"].message


def test_a_field_that_can_do_nothing_is_told() -> None:
    text = route("r", "{backendRefs: [{name: inventory}]}")
    text += mesh("Retry", "x", "budget: {percent: 10}", "{kind: HTTPRoute, name: r}")
    found = conditions(text, "x")["Accepted"]
    assert (found.status, found.reason) == ("False", "NoEffect")


@pytest.mark.parametrize(
    ("delivery", "status", "words"),
    [
        (RolloutCount(), "Unknown", "no connected sidecar"),
        (RolloutCount(3, 2), "False", "2 of 3 sidecars"),
        (RolloutCount(3, 3), "True", "3 of 3 sidecars"),
    ],
)
def test_how_far_a_policy_has_come(delivery: RolloutCount, status: str, words: str) -> None:
    found = conditions(mesh("Timeout", "x", "request: 1s", CATALOG), "x", delivery)
    assert (found["Accepted"].status, found["Programmed"].status) == ("True", status)
    assert words in found["Programmed"].message
    assert "Rejected" not in found


def test_envoys_words_are_passed_on_within_limits() -> None:
    delivery = RolloutCount(2, 0, ("no such thing", "no such thing", "x" * 9999))
    found = conditions(mesh("Timeout", "x", "request: 1s", CATALOG), "x", delivery)["Rejected"]
    assert found.message.startswith("no such thing; x")
    assert len(found.message) == 500
