"""Which policy is in force where."""

from __future__ import annotations

from itertools import combinations, permutations

import pytest

from meshwright.control_plane.core.attachment import AttachmentPoint, Attachments, EffectivePolicy, conflicts
from meshwright.control_plane.core.world import PolicyDocument
from meshwright.control_plane.policies.timeout.spec import TimeoutSpec
from tests.control_plane.core.worlds import documents, mesh

SITE = AttachmentPoint(service="s", caller="c", gateway="g", route="HTTPRoute/r", rule="x")
ROUTE, RULE = "{kind: HTTPRoute, name: r}", "{kind: HTTPRoute, name: r, sectionName: x}"
SERVICE = "{kind: Service, name: s}"

# Widest first: each beats all before it.
PRECEDENCE = [
    ("{kind: Mesh}", ""),
    ("{kind: Mesh}", "from: [c],"),
    (SERVICE, ""),
    (SERVICE, "from: [c],"),
    (ROUTE, ""),
    (ROUTE, "from: [c],"),
    (RULE, ""),
    (RULE, "from: [c],"),
]


def timeout(name: str, target: str, more: str = "", created: int = 0) -> tuple[PolicyDocument, ...]:
    return documents(mesh("Timeout", name, f"{more} request: 1s", target), created)


def winner(*policy_documents: PolicyDocument, site: AttachmentPoint = SITE) -> list[str]:
    return [effective_policy.ref for effective_policy in Attachments(policy_documents).effective_at(site)]


@pytest.mark.parametrize(("wide", "narrow"), [*combinations(PRECEDENCE, 2)])
def test_the_most_specific_wins_whatever_its_age(wide: tuple[str, str], narrow: tuple[str, str]) -> None:
    old, new = timeout("wide", *wide, created=1), timeout("narrow", *narrow, created=2)
    assert winner(*old, *new) == winner(*new, *old) == ["Timeout/narrow"]


def test_what_the_rule_says_itself_wins_over_all() -> None:
    inline = EffectivePolicy("Timeout", 200, TimeoutSpec(), "HTTPRoute/r")
    site = AttachmentPoint("s", "c", "g", "HTTPRoute/r", "x", (inline,))
    assert winner(*timeout("narrow", RULE, "from: [c],"), site=site) == ["HTTPRoute/r"]


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_a_tie_goes_to_the_oldest_then_to_the_name(order: tuple[int, ...]) -> None:
    policy_documents = [
        *timeout("b", SERVICE, created=1),
        *timeout("c", SERVICE, created=1),
        *timeout("a", SERVICE, created=2),
    ]
    assert winner(*(policy_documents[index] for index in order)) == ["Timeout/b"]
    assert conflicts(tuple(policy_documents[index] for index in order)) == {
        "Timeout/a": "Timeout/b",
        "Timeout/c": "Timeout/b",
    }


def test_other_callers_services_routes_and_rules_are_not_concerned() -> None:
    for target, more in [
        (SERVICE, "from: [other],"),
        ("{kind: Service, name: other}", ""),
        ("{kind: HTTPRoute, name: other}", ""),
        ("{kind: HTTPRoute, name: r, sectionName: other}", ""),
    ]:
        assert winner(*timeout("t", target, more)) == []


@pytest.mark.parametrize(
    ("left", "right", "rivals"),
    [
        ("", "", True),
        ("from: [c],", "", False),
        ("from: [c],", "from: [d],", False),
        ("from: [c, d],", "from: [d],", True),
    ],
)
def test_only_equal_rank_is_a_conflict(left: str, right: str, rivals: bool) -> None:
    policy_documents = (*timeout("a", SERVICE, left), *timeout("b", SERVICE, right))
    assert bool(conflicts(policy_documents)) == rivals


def test_the_group_of_a_target_makes_no_difference() -> None:
    core = "{group: core, kind: Service, name: s}"
    assert conflicts((*timeout("a", SERVICE), *timeout("b", core))) == {"Timeout/b": "Timeout/a"}


def test_a_document_is_no_rival_of_itself() -> None:
    assert not conflicts(timeout("a", f"{SERVICE}, {{group: core, kind: Service, name: s}}"))


def test_every_document_of_an_all_kind_applies_once() -> None:
    text = mesh("MutualTLS", "a", "mode: Strict", f"{{kind: Mesh}}, {SERVICE}")
    text += mesh("MutualTLS", "b", "mode: Disabled", SERVICE)
    assert winner(*documents(text)) == ["MutualTLS/a", "MutualTLS/b"]
    assert not conflicts(documents(text))
