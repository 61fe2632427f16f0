"""Which policy is in force where, and which one overrides which."""

from __future__ import annotations

from itertools import combinations, permutations

import pytest

from meshwright.control_plane.core.attachment import (
    AttachmentLevel,
    AttachmentPoint,
    Attachments,
    EffectivePolicy,
    conflicts,
    effective_policies,
    service_policies,
)
from meshwright.control_plane.core.resolver import Resolver
from meshwright.control_plane.core.world import PolicyDocument
from meshwright.control_plane.policies.timeout.spec import TimeoutSpec
from tests.control_plane.core.worlds import documents, mesh, route

POINT = AttachmentPoint(service="s", caller="c", gateway="g", route="HTTPRoute/r", rule="x")
ROUTE, RULE = "{kind: HTTPRoute, name: r}", "{kind: HTTPRoute, name: r, sectionName: x}"
SERVICE = "{kind: Service, name: s}"
FROM_C = "from: [c],"

# Least specific first: each overrides all before it.
PRECEDENCE = [
    ("{kind: Mesh}", ""),
    ("{kind: Mesh}", FROM_C),
    (SERVICE, ""),
    (SERVICE, FROM_C),
    (ROUTE, ""),
    (ROUTE, FROM_C),
    (RULE, ""),
    (RULE, FROM_C),
]


def timeout(name: str, target: str, more: str = "", created: int = 0) -> tuple[PolicyDocument, ...]:
    return documents(mesh("Timeout", name, f"{more} request: 1s", target), created)


def in_force(*policies: PolicyDocument, point: AttachmentPoint = POINT) -> list[str]:
    return [policy.ref for policy in Attachments(policies).effective_at(point)]


@pytest.mark.parametrize(("wide", "narrow"), [*combinations(PRECEDENCE, 2)])
def test_effective_at_more_specific_policy_wins_whatever_its_age(
    wide: tuple[str, str], narrow: tuple[str, str]
) -> None:
    old, new = timeout("wide", *wide, created=1), timeout("narrow", *narrow, created=2)
    assert in_force(*old, *new) == in_force(*new, *old) == ["Timeout/narrow"]


def test_effective_at_listener_wins_over_its_gateway() -> None:
    def limits(name: str, target: str, created: int) -> tuple[PolicyDocument, ...]:
        return documents(mesh("RequestLimits", name, "maxBody: 1Mi", target), created)

    wide = limits("wide", "{kind: Gateway, name: g}", 1)
    narrow = limits("narrow", "{kind: Gateway, name: g, sectionName: l}", 2)
    at = {name: AttachmentPoint(gateway="g", listener=name) for name in ("l", "other")}
    assert in_force(*wide, *narrow, point=at["l"]) == ["RequestLimits/narrow"]
    assert in_force(*wide, *narrow, point=at["other"]) == ["RequestLimits/wide"]


def test_effective_at_inline_policy_of_the_rule_wins_over_all() -> None:
    inline = EffectivePolicy("Timeout", 200, TimeoutSpec(), "HTTPRoute/r")
    point = AttachmentPoint("s", "c", "g", "HTTPRoute/r", "x", (inline,))
    assert in_force(*timeout("narrow", RULE, FROM_C), point=point) == ["HTTPRoute/r"]


@pytest.mark.parametrize("order", [*permutations(range(3))])
def test_effective_at_tie_goes_to_the_oldest_then_to_the_name(order: tuple[int, ...]) -> None:
    policies = [
        *timeout("b", SERVICE, created=1),
        *timeout("c", SERVICE, created=1),
        *timeout("a", SERVICE, created=2),
    ]
    assert in_force(*(policies[index] for index in order)) == ["Timeout/b"]
    assert conflicts(tuple(policies[index] for index in order)) == {
        "Timeout/a": "Timeout/b",
        "Timeout/c": "Timeout/b",
    }


@pytest.mark.parametrize(
    ("target", "more"),
    [
        (SERVICE, "from: [other],"),
        ("{kind: Service, name: other}", ""),
        ("{kind: HTTPRoute, name: other}", ""),
        ("{kind: HTTPRoute, name: r, sectionName: other}", ""),
    ],
)
def test_effective_at_ignores_other_callers_services_routes_and_rules(target: str, more: str) -> None:
    assert in_force(*timeout("t", target, more)) == []


@pytest.mark.parametrize(
    ("left", "right", "conflict"),
    [
        ("", "", True),
        (FROM_C, "", False),
        (FROM_C, "from: [d],", False),
        ("from: [c, d],", "from: [d],", True),
    ],
)
def test_conflicts_only_at_equal_rank(left: str, right: str, conflict: bool) -> None:
    policies = (*timeout("a", SERVICE, left), *timeout("b", SERVICE, right))
    assert bool(conflicts(policies)) == conflict


def test_conflicts_ignores_the_group_of_a_target() -> None:
    core = "{group: core, kind: Service, name: s}"
    assert conflicts((*timeout("a", SERVICE), *timeout("b", core))) == {"Timeout/b": "Timeout/a"}


def test_conflicts_document_does_not_conflict_with_itself() -> None:
    assert not conflicts(timeout("a", f"{SERVICE}, {{group: core, kind: Service, name: s}}"))


def test_effective_at_every_document_of_an_all_kind_applies_once() -> None:
    text = mesh("MutualTLS", "a", "mode: Strict", f"{{kind: Mesh}}, {SERVICE}")
    text += mesh("MutualTLS", "b", "mode: Disabled", SERVICE)
    assert in_force(*documents(text)) == ["MutualTLS/a", "MutualTLS/b"]
    assert not conflicts(documents(text))


# --- effective policies with what overrides what ------------------------------------------------------

OVERRIDES = (
    *timeout("everywhere", "{kind: Mesh}"),
    *timeout("service", SERVICE),
    *timeout("for-c", SERVICE, FROM_C),
    *documents(
        mesh("MutualTLS", "strict", "mode: Strict") + mesh("MutualTLS", "s", "mode: Disabled", SERVICE)
    ),
)


def summary(point: AttachmentPoint) -> list[tuple[str, AttachmentLevel, str]]:
    entries = effective_policies(Attachments(OVERRIDES), point)
    return [(entry.policy.ref, entry.level, entry.overridden_by) for entry in entries]


def test_effective_policies_of_a_service_name_what_overrides_them() -> None:
    mesh_level, service_level = AttachmentLevel.MESH, AttachmentLevel.SERVICE
    assert summary(AttachmentPoint(service="s")) == [
        ("Timeout/service", service_level, ""),
        ("MutualTLS/s", service_level, ""),
        ("MutualTLS/strict", mesh_level, ""),
        ("Timeout/everywhere", mesh_level, "Timeout/service"),
    ]


def test_effective_policies_of_an_edge_include_those_for_its_caller() -> None:
    entries = {ref: overridden_by for ref, _, overridden_by in summary(AttachmentPoint("s", "c"))}
    assert entries == {
        "Timeout/for-c": "",
        "MutualTLS/s": "",
        "MutualTLS/strict": "",
        "Timeout/everywhere": "Timeout/for-c",
        "Timeout/service": "Timeout/for-c",
    }


@pytest.mark.parametrize(
    "point", [AttachmentPoint("s"), AttachmentPoint("s", "c"), AttachmentPoint("other"), POINT]
)
def test_effective_policies_agree_with_the_translation(point: AttachmentPoint) -> None:
    attachments = Attachments(OVERRIDES)
    entries = effective_policies(attachments, point)
    effective = tuple(entry.policy for entry in entries if not entry.overridden_by)
    assert effective == attachments.effective_at(point)


def test_effective_policies_inline_policy_overrides_attached_ones() -> None:
    inline = EffectivePolicy("Timeout", 200, TimeoutSpec(), "HTTPRoute/r")
    point = AttachmentPoint(service="s", route="HTTPRoute/r", inline=(inline,))
    overridden = {entry for entry in summary(point) if entry[0].startswith("Timeout/")}
    assert {overridden_by for _, _, overridden_by in overridden} == {"HTTPRoute/r"}


def test_service_policies_lists_callers_with_their_own_policies() -> None:
    policies = service_policies(Attachments(OVERRIDES), "s")
    assert list(policies) == ["", "c"]
    assert [entry.policy.ref for entry in policies["c"] if not entry.overridden_by] == [
        "Timeout/for-c",
        "MutualTLS/s",
        "MutualTLS/strict",
    ]


def test_edge_points_are_the_edge_and_each_rule_of_its_routes() -> None:
    rules = "{name: a, backendRefs: [{name: s}], timeouts: {request: 2s}}, {backendRefs: [{name: s}]}"
    resolver = Resolver(documents(route("r", rules, SERVICE)), "mesh.local")
    edge, first, second = resolver.edge_points("s", "c")
    assert edge == AttachmentPoint(service="s", caller="c")
    assert (first.route, first.rule, [policy.kind for policy in first.inline]) == (
        "HTTPRoute/r",
        "a",
        ["Timeout"],
    )
    assert (second.rule, second.inline) == ("", ())
    assert resolver.edge_points("other") == (AttachmentPoint(service="other"),)
