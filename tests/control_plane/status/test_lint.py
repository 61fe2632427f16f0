"""What lint finds in policies, by the calls that were seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meshwright.control_plane.api.models.authorization import ObservedCall, ObservedCalls
from meshwright.control_plane.api.models.lint import LintFinding
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.status import preview
from meshwright.control_plane.status.lint.findings import findings, with_sources
from tests.control_plane.core.worlds import exchange, mesh, route, subset
from tests.control_plane.status.test_preview import bodies

GATEWAY = "{kind: Gateway, name: ingress, group: gateway.networking.k8s.io}"
ENTRY = route("entry", "{backendRefs: [{name: orders}]}", GATEWAY)


def of(kind: str, service: str, spec: str) -> str:
    return mesh(kind, f"{kind.lower()}-{service}", spec, f"{{kind: Service, name: {service}}}")


def calls(*paths: str, each: int = 60) -> ObservedCalls:
    """Calls along paths such as `ingress orders inventory`, as many each, within an hour."""
    pairs = {pair: None for path in paths for pair in zip(path.split(), path.split()[1:], strict=False)}
    return ObservedCalls(
        seconds=3600,
        calls=tuple(
            ObservedCall(
                caller=caller,
                role="gateway" if caller == "ingress" else "service",
                service=service,
                requests=each,
            )
            for caller, service in pairs
        ),
    )


PATH = calls("ingress orders catalog inventory")
UNCALLED = calls("ingress orders catalog", each=2000)
"""Nobody calls inventory."""


def lint(text: str, observed: ObservedCalls = PATH) -> list[tuple[str, str]]:
    result = findings(translate(exchange(text)), observed)
    return [(finding.rule, finding.message) for finding in result]


# --- retries ----------------------------------------------------------------------------------------


def retries(*attempts: int, more: str = "") -> str:
    pairs = zip(("orders", "catalog", "inventory"), attempts, strict=False)
    return ENTRY + "".join(of("Retry", service, f"attempts: {count}{more}") for service, count in pairs)


def test_retries_at_every_call_of_a_path_multiply() -> None:
    ((rule, message),) = lint(retries(2, 2, 2))
    assert rule == "retry-amplification"
    assert message.startswith("one request of ingress may become 27 calls of inventory")
    assert "ingress → orders (3 tries) → catalog (3 tries) → inventory (3 tries): 3 × 3 × 3:" in message


@pytest.mark.parametrize(
    ("text", "observed"),
    [
        (retries(1, 1, 1), PATH),
        (retries(10), PATH),
        (retries(10, 0, 10), PATH),
        (retries(2, 2, 2), calls("ingress orders", "catalog inventory")),
        (retries(10, 10, more=", on: [connect-failure, refused-stream]"), PATH),
        ("", PATH),
    ],
)
def test_few_calls_and_retries_of_what_was_not_sent_are_no_amplification(
    text: str, observed: ObservedCalls
) -> None:
    assert not [message for rule, message in lint(text, observed) if rule != "unused-policy"]


def test_a_circle_of_calls_is_followed_once() -> None:
    messages = [message for _, message in lint(retries(2, 2, 2), calls("orders catalog inventory orders"))]
    assert ["may become 9 calls" in message for message in messages] == [True] * 3


# --- timeouts ---------------------------------------------------------------------------------------


def test_a_caller_that_gives_up_before_the_retries_of_its_service() -> None:
    text = of("Timeout", "catalog", "request: 1s") + of(
        "Retry", "inventory", "attempts: 2, perTryTimeout: 1s, backoff: {base: 100ms, max: 250ms}"
    )
    ((rule, message),) = lint(text)
    assert rule == "timeout-inversion"
    assert (
        "orders ends a call of catalog after 1 s, but catalog may wait 3.5 s for inventory (3 tries)"
        in message
    )


@pytest.mark.parametrize(
    "text",
    [
        of("Timeout", "catalog", "request: 3s") + of("Timeout", "inventory", "request: 3s"),
        of("Timeout", "catalog", "request: 1s"),
        of("Timeout", "inventory", "request: 3s"),
        of("Timeout", "catalog", "request: 0s") + of("Timeout", "inventory", "request: 3s"),
    ],
)
def test_timeouts_in_order_and_missing_ones_are_no_inversion(text: str) -> None:
    assert lint(text) == []


def test_the_limit_of_a_try_counts_and_that_of_a_gateways_route() -> None:
    text = route(
        "entry",
        "{backendRefs: [{name: orders}], timeouts: {request: 10s, backendRequest: 500ms}, "
        "retry: {attempts: 1}}",
        GATEWAY,
    ) + of("Timeout", "catalog", "request: 2s")
    ((_, message),) = lint(text)
    assert "ingress ends a call of orders after 0.5 s, and tries again, but orders may wait 2 s" in message


# --- what is meant, and no path ---------------------------------------------------------------------


def test_findings_that_a_policy_ignores_are_not_reported_but_errors_are() -> None:
    inverted = of("Timeout", "catalog", "request: 1s") + of("Timeout", "inventory", "request: 3s")
    annotated = "metadata: {name: timeout-catalog, annotations: {meshwright.io/lint-ignore: '%s'}}"
    name = "metadata: {name: timeout-catalog}"
    assert name in inverted
    ((rule, _),) = lint(inverted.replace(name, annotated % "retry-amplification"))
    assert rule == "timeout-inversion"
    both = annotated % "retry-amplification, timeout-inversion"
    assert lint(inverted.replace(name, both)) == []
    cut = ONLY_INGRESS.replace("authorization-catalog", "authorization-catalog, annotations: %s")
    ((rule, _),) = lint(cut % "{meshwright.io/lint-ignore: cut-calls}")
    assert rule == "cut-calls"


def test_a_service_that_calls_itself_adds_nothing_to_a_path() -> None:
    alone = retries(2, 2)
    assert lint(alone, calls("ingress orders catalog")) == lint(alone, calls("ingress orders orders catalog"))


# --- routes -----------------------------------------------------------------------------------------

REPORTS = "matches: [{path: {value: /reports}, headers: [{name: a, value: x}, {name: b, value: y}]}]"
SAME = "matches: [{path: {value: /reports}, headers: [{name: b, value: y}, {name: a, value: x}]}]"
BACKEND = "backendRefs: [{name: inventory}]"


def test_a_rule_that_asks_for_the_same_as_an_earlier_one_is_never_reached() -> None:
    text = route("first", f"{{name: old, {REPORTS}, {BACKEND}}}") + route("second", f"{{{SAME}, {BACKEND}}}")
    ((rule, message),) = lint(text)
    assert rule == "shadowed-rule"
    assert message.startswith("no request reaches rule 1 of HTTPRoute/second: rule old of HTTPRoute/first")


@pytest.mark.parametrize(
    "other",
    [
        f"{{matches: [{{path: {{value: /reports}}}}], {BACKEND}}}",
        f"{{matches: [{{path: {{value: /reports}}}}, {REPORTS[10:-1]}], {BACKEND}}}",
    ],
)
def test_a_rule_that_is_reached_by_any_request_is_not_reported(other: str) -> None:
    assert lint(route("first", f"{{{REPORTS}, {BACKEND}}}") + route("second", other)) == []


def test_a_rule_that_is_reached_at_another_parent_is_not_reported() -> None:
    second = route(
        "second", f"{{{SAME}, {BACKEND}}}", "{kind: Service, name: inventory}, {name: catalog, kind: Service}"
    )
    assert lint(route("first", f"{{{REPORTS}, {BACKEND}}}") + second) == []


# --- calls ------------------------------------------------------------------------------------------

ONLY_INGRESS = of("Authorization", "catalog", "rules: [{name: edge, from: [{gateways: [ingress]}]}]")


def test_a_call_that_was_seen_and_is_refused_now_is_an_error() -> None:
    (finding,) = findings(translate(exchange(ONLY_INGRESS)), PATH)
    assert (finding.rule, finding.severity) == ("cut-calls", "error")
    assert finding.policies == ("Authorization/authorization-catalog",)
    assert finding.message.startswith(
        "orders may not call catalog, but did so within the last 60 minutes: 60 requests:"
    )
    assert lint(ONLY_INGRESS, calls("ingress catalog", "orders inventory")) == []


def test_a_plan_has_the_findings_that_the_change_adds() -> None:
    def added(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> tuple[LintFinding, ...]:
        return preview.plan(exchange(), before, after, (), PATH).findings

    assert [finding.rule for finding in added([], bodies(ONLY_INGRESS))] == ["cut-calls"]
    assert added(bodies(ONLY_INGRESS), bodies(ONLY_INGRESS)) == ()
    assert added(bodies(ONLY_INGRESS), []) == ()
    world = exchange(ONLY_INGRESS)
    assert preview.lint(world, PATH).findings == added([], bodies(ONLY_INGRESS))


# --- limits and policies that nothing reaches ---------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            "maxRequests: 2001",
            "reaches maxRequests 2001 of CircuitBreaker/circuitbreaker-catalog: the busiest",
        ),
        ("consecutiveFailures: 3000, maxPending: 9000", "consecutiveFailures 3000 and maxPending 9000 of"),
        ("maxRequests: 2000, consecutiveFailures: 2000", ""),
        ("openFor: 30s", ""),
    ],
)
def test_breaker_limits_beyond_all_that_the_busiest_caller_sent(spec: str, expected: str) -> None:
    text = of("CircuitBreaker", "catalog", spec)
    messages = [message for _, message in lint(text, UNCALLED)]
    assert len(messages) == bool(expected)
    assert all(expected in message for message in messages)
    assert lint(text, PATH) == [], "few requests show no peak"


def test_only_the_callers_that_a_breaker_is_for_are_counted() -> None:
    text = of("CircuitBreaker", "catalog", "maxRequests: 50000").replace(
        "targetRefs", "from: [web], targetRefs"
    )
    assert [rule for rule, _ in lint(text)] == ["unused-policy"]


def test_what_was_seen_for_a_short_time_says_nothing_about_limits_and_missing_calls() -> None:
    text = of("CircuitBreaker", "catalog", "maxRequests: 50000") + of("Retry", "inventory", "attempts: 2")
    rules = [rule for rule, _ in lint(text, UNCALLED)]
    assert rules == ["unreached-breaker", "unused-policy"]
    assert lint(text, UNCALLED.model_copy(update={"seconds": 60})) == []


def test_a_subset_that_no_route_names_is_unused() -> None:
    used = subset("orders-v2", "orders")
    backend = "{backendRefs: [{group: meshwright.io, kind: Subset, name: orders-v2}]}"
    assert lint(used + route("orders", backend, "{kind: Service, name: orders, group: ''}")) == []
    ((rule, message),) = lint(used)
    assert (rule, message) == (
        "unused-policy",
        "nothing uses Subset/orders-v2: no route sends requests to it: remove it, unless it is for later",
    )


def test_policies_for_calls_that_nobody_makes_are_unused_and_protections_are_not() -> None:
    ((_, message),) = lint(of("Retry", "inventory", "attempts: 2"), UNCALLED)
    assert "nothing uses Retry/retry-inventory: nobody called inventory within the last 60 minutes" in message
    assert lint(of("Authorization", "inventory", "rules: [{action: allow}]"), UNCALLED) == []
    world = exchange(of("Timeout", "inventory", "request: 1s"))
    idle = replace(world.services["inventory"], instances=())
    translation = translate(replace(world, services={**world.services, "inventory": idle}))
    (finding,) = findings(translation, ObservedCalls(seconds=1))
    assert "inventory has no instance" in finding.message


def test_findings_say_where_their_policies_came_from() -> None:
    listed = findings(translate(exchange(of("Retry", "inventory", "attempts: 2"))), UNCALLED)
    (located,) = with_sources(listed, {"Retry/retry-inventory": "retry.yaml:4"})
    assert located.sources == ("retry.yaml:4",)
