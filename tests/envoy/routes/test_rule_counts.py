"""Requests by rule: what the router forwards, what a sidecar answers itself, what callers see as failures."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from tests.envoy.harness import Mesh, until
from tests.envoy.mesh_policies import policy_document
from tests.envoy.routes.documents import INGRESS, SERVICE, call, filtered, route
from tests.envoy.rule_counts import FAILED, FORWARDED, LOCAL, TIMES, RuleCounts, RuleKey, rule_counts

NAMED = "{name: named, matches: [{path: {value: /status}}], backendRefs: [{name: back}]}"
SECOND = filtered("/second", "")
GONE = "{name: gone, matches: [{path: {value: /gone}}], backendRefs: [{name: nobody}]}"
FAULTY = "{name: faulty, matches: [{path: {value: /faulty}}], backendRefs: [{name: back}]}"


def test_each_rule_has_its_requests_failures_and_times(mesh: Mesh, applied: Any) -> None:
    fault = policy_document(
        "FaultInjection",
        "faulty",
        "{kind: HTTPRoute, name: counted, sectionName: faulty}",
        abort={"status": 500, "percent": 100},
    )
    applied(route("counted", f"{SERVICE}, {INGRESS}", NAMED, SECOND, GONE, FAULTY) + fault)
    before = {proxy: counts_of_route(mesh, proxy) for proxy in ("front-1", "ingress")}
    for path in (*["/status/200"] * 3, "/status/404", "/status/503", "/second", "/gone", "/faulty"):
        call(mesh, path)
        mesh.outside(path)
    rules = {name: f"HTTPRoute/counted/{name}" for name in ("named", "#2", "gone", "faulty")}
    expected = {
        (FORWARDED, rules["named"]): 5,
        (FORWARDED, rules["#2"]): 1,
        (LOCAL, rules["gone"]): 1,
        (LOCAL, rules["faulty"]): 1,
        (FAILED, rules["named"]): 1,
        (FAILED, rules["gone"]): 1,
        (FAILED, rules["faulty"]): 1,
        (TIMES, rules["named"]): 5,
        (TIMES, rules["#2"]): 1,
    }
    for proxy, counts in before.items():
        until(partial(_has_counted, mesh, proxy, counts, expected), f"{expected} at {proxy}")


def _has_counted(mesh: Mesh, proxy: str, before: RuleCounts, expected: Mapping[RuleKey, int]) -> bool:
    return counts_of_route(mesh, proxy) - before == expected


def counts_of_route(mesh: Mesh, proxy: str) -> RuleCounts:
    """How often each rule of the test's own route was counted.

    Envoy adds up times every two seconds: those of other tests' rules may still come.
    """
    counts = rule_counts(mesh, proxy)
    of_route = {key: count for key, count in counts.items() if key[1].startswith("HTTPRoute/counted/")}
    return RuleCounts(of_route)


def test_calls_without_a_route_are_counted_for_no_rule(mesh: Mesh) -> None:
    def counters() -> RuleCounts:
        """Without times, of which those of other tests may still come."""
        counts = rule_counts(mesh, "front-1")
        return RuleCounts({key: count for key, count in counts.items() if key[0] != TIMES})

    before = counters()
    assert call(mesh, "/status/200").ok
    assert call(mesh, "/status/503").status_code == 503
    assert counters() == before
