"""The conditions of each policy, and the state that follows from them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshwright.control_plane.api.models.policies import Condition, PolicyState, PolicyStatus
from meshwright.control_plane.api.models.push import Push, PushReport
from meshwright.control_plane.status.acks import AckCount
from meshwright.control_plane.status.conditions import policy_statuses, reference_warnings, summarize
from tests.control_plane.core.worlds import exchange, mesh, route, subset

CATALOG = "{kind: Service, name: catalog}"
TIMEOUT = mesh("Timeout", "x", "request: 1s", CATALOG)
UNRESOLVED = mesh("Timeout", "x", "request: 1s", "{kind: Service, name: nobody}")
IN_PART = route("r", "{backendRefs: [{name: inventory}]}") + mesh(
    "Retry", "x", "budget: {percent: 10}", "{kind: HTTPRoute, name: r}"
)
CONFLICTED = mesh("Timeout", "a", "request: 2s", CATALOG) + TIMEOUT


def policy_status(text: str, name: str, acks: AckCount | None = None) -> PolicyStatus:
    world = exchange(text)
    ref = next(document.ref for document in world.documents if document.policy.name == name)
    statuses = policy_statuses(world, {ref: acks} if acks else {})
    return next(status for status in statuses if status.name == name)


def conditions(text: str, name: str, acks: AckCount | None = None) -> dict[str, Condition]:
    return {condition.type: condition for condition in policy_status(text, name, acks).conditions}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            mesh("Timeout", "x", "request: 1s", "{kind: Service, name: inventry}"),
            "Timeout/x: spec.targetRefs[0].name: there is no Service inventry yet (did you mean inventory?): "
            "the policy takes effect",
        ),
        (
            route("x", "{backendRefs: [{name: orders}]}", "{name: ingres}"),
            "Gateway ingres yet (did you mean ingress?)",
        ),
        (route("x", "{backendRefs: [{name: order}]}"), "Service order yet (did you mean orders?)"),
        (
            subset("orders-v2", "orders")
            + route("x", "{backendRefs: [{group: meshwright.io, kind: Subset, name: orders-v3}]}"),
            "Subset orders-v3 yet (did you mean orders-v2?)",
        ),
        (
            route("front", "{backendRefs: [{name: orders}]}")
            + mesh("Timeout", "x", "request: 1s", "{kind: HTTPRoute, name: fron}"),
            "HTTPRoute fron yet (did you mean front?)",
        ),
        (
            mesh("Authorization", "x", "rules: [{action: deny, to: [{ports: [htp]}]}]", CATALOG),
            "Authorization/x: spec.rules[0].to[0].ports: Service catalog has no port named 'htp' "
            "(did you mean http?): it matches nothing",
        ),
        (
            mesh("HealthCheck", "x", "tcp: {}, port: admin"),
            "spec.port: none of the services has a port named 'admin' (there is grpc, http): it matches",
        ),
        (UNRESOLVED, "there is no Service nobody yet: the policy takes effect when there is"),
    ],
)  # fmt: skip
def test_warning_suggests_the_closest_name_of_the_same_kind(text: str, expected: str) -> None:
    world = exchange(text)
    (warning,) = reference_warnings(world, world.documents)
    assert expected in warning
    messages = [condition.message for condition in conditions(text, "x").values()]
    assert any(message and warning.endswith(message) for message in messages)


def test_conditions_state_the_revision_that_changed_their_document() -> None:
    world = exchange(
        route("r", "{backendRefs: [{name: orders}]}")
        + "---\n{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: ingress},"
        " spec: {listeners: [{name: http, port: 80, protocol: HTTP}]}}"
    )
    documents = tuple(
        replace(document, generation=number) for number, document in enumerate(world.documents, 4)
    )
    gateway, http_route = policy_statuses(replace(world, documents=documents), {})
    for status, generation in ((gateway, 4), (http_route, 5)):
        assert status.generation == generation
        parents = (parent.conditions for parent in status.parents)
        groups = (status.conditions, *parents, *(listener.conditions for listener in status.listeners))
        assert len(groups) == 2
        assert {item.observed_generation for group in groups for item in group} == {generation}


def test_same_target_the_younger_policy_is_conflicted() -> None:
    text = mesh("Timeout", "a", "request: 1s", CATALOG) + mesh("Timeout", "b", "request: 2s", CATALOG)
    assert "Conflicted" not in conditions(text, "a")
    assert "Timeout/a" in conditions(text, "b")["Conflicted"].message


def test_policy_with_a_field_without_effect_is_in_force_in_part() -> None:
    by_type = conditions(IN_PART, "x")
    assert by_type["Accepted"].status == "True"
    assert (by_type["ResolvedRefs"].status, by_type["ResolvedRefs"].reason) == ("False", "NoEffect")


def test_what_is_on_trial_is_not_programmed() -> None:
    world = exchange(TIMEOUT)
    documents = tuple(replace(document, generation=5) for document in world.documents)
    push = PushReport(
        newest=5, stable=4, push=Push(revision=5, wave=1, admitted=("front/front-1",), affected=3)
    )
    counts = {document.ref: AckCount(1, 1) for document in documents}
    (status,) = policy_statuses(replace(world, documents=documents), counts, push=push)
    assert (status.state, status.conditions[-1].reason) == ("pending", "OnTrial")
    assert status.reason == "revision 5 on trial, 4 in force: wave 1, 1 of 3 proxies, waiting for ACKs"
    (before,) = policy_statuses(world, counts, push=push)
    assert before.state == "programmed"


@pytest.mark.parametrize(
    ("acks", "status", "message"),
    [
        (AckCount(), "Unknown", "no connected sidecar"),
        (AckCount(3, 2), "False", "accepted by 2 of 3 proxies"),
        (AckCount(3, 3), "True", "accepted by 3 of 3 proxies"),
    ],
)
def test_programmed_follows_the_acks(acks: AckCount, status: str, message: str) -> None:
    by_type = conditions(TIMEOUT, "x", acks)
    assert (by_type["Accepted"].status, by_type["Programmed"].status) == ("True", status)
    assert message in by_type["Programmed"].message
    assert "Rejected" not in by_type


def test_rejected_quotes_envoy_within_limits() -> None:
    acks = AckCount(2, 0, ("no such thing", "no such thing", "x" * 9999))
    condition = conditions(TIMEOUT, "x", acks)["Rejected"]
    assert condition.message.startswith("no such thing; x")
    assert len(condition.message) == 500


@pytest.mark.parametrize(
    ("text", "acks", "state", "reason"),
    [
        (TIMEOUT, AckCount(2, 2), "programmed", ""),
        (TIMEOUT, AckCount(2, 1), "pending", "accepted by 1 of 2 proxies"),
        (TIMEOUT, AckCount(), "unused", "no connected sidecar needs it yet"),
        (IN_PART, AckCount(2, 2), "partial", "budget"),
        (UNRESOLVED, AckCount(), "target-not-found", "there is no Service nobody"),
        (CONFLICTED, AckCount(2, 1), "conflicted", "Timeout/a has the same target"),
        (CONFLICTED, AckCount(2, 1, ("bad regex",)), "rejected", "bad regex"),
        (UNRESOLVED, AckCount(1, 0, ("bad regex",)), "rejected", "bad regex"),
    ],
)
def test_state_is_the_worst_condition(text: str, acks: AckCount, state: PolicyState, reason: str) -> None:
    status = policy_status(text, "x", acks)
    assert status.state == state
    assert reason in status.reason
    assert (status.affected, status.acked) == (acks.holders, acks.acked)


def test_state_without_conditions_is_unknown() -> None:
    assert summarize(()) == ("unknown", "")
