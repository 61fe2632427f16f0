"""The verdict on the mesh: what is a problem, in which order, and why requests fail."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from meshwright.control_plane.api.models.policies import PolicyState, PolicyStatus
from meshwright.control_plane.api.models.proxies import CertificateReport, ProxyReport, ProxyStatus
from meshwright.control_plane.api.models.revisions import DocumentChange, RevisionInfo
from meshwright.control_plane.api.models.status import ControlPlaneStatus, Status
from meshwright.control_plane.api.models.topology import Breaker, HistoryPoint, ServiceSummary
from meshwright.control_plane.api.problem_text import problem_text, verdict_line
from meshwright.control_plane.status.verdict import FailureCause, VerdictInput, assess
from meshwright.control_plane.telemetry.requests.attribution import PolicyAttribution
from meshwright.control_plane.telemetry.requests.failure_cause import failing_since, most_common_cause
from tests.control_plane.core.worlds import exchange, mesh, route, service
from tests.control_plane.telemetry.log_exports import inbound_request, outbound_request

NOW = 1_000_000.0
FAULT = mesh("FaultInjection", "slow", "abort: {status: 503}", "{kind: Service, name: inventory}")
BREAKER = mesh("CircuitBreaker", "limits", "consecutiveFailures: 5", "{kind: Service, name: inventory}")
ROUTED = route("front", "{backendRefs: [{name: orders}]}", "{name: ingress}")
HEALTHY = ServiceSummary(name="inventory", health="healthy", rps=3.2, instances=2, healthy=2)
FAILING = HEALTHY.model_copy(
    update={"health": "unhealthy", "success": 0.0, "reason": "100 % of its requests fail"}
)
INGRESS = ProxyStatus(role="gateway", name="ingress", service="ingress", state="synced", revision=1)


def verdict(text: str = ROUTED, services: tuple[ServiceSummary, ...] = (HEALTHY,), **fields: Any) -> Any:
    facts = {
        "causes": fields.pop("causes", {}),
        "certificates": fields.pop("certificates", {}),
        "reports": fields.pop("reports", ()),
    }
    world = exchange(text, *fields.pop("more", ()))
    status = Status(revision=1, store="ok", **{"proxies": (INGRESS,), **fields})
    return assess(VerdictInput(status, world, services, now=NOW, svid_ttl=3600, window=10, **facts))


def lines(result: Any) -> list[str]:
    return [
        problem_text(problem.model_dump(), lambda seconds: f"<{seconds:.0f}>") for problem in result.problems
    ]


def test_a_mesh_without_problems_is_healthy() -> None:
    result = verdict()
    assert (result.healthy, result.problems) == (True, ())
    assert result.summary == "healthy: 1 service, 1 proxy, 3.2 requests/s"


def test_failing_requests_come_first_with_their_time_and_cause() -> None:
    cause = FailureCause(NOW - 60, "FaultInjection slow, revision 2, by root")
    result = verdict(ROUTED + FAULT, (FAILING,), causes={"inventory": cause})
    first, second = lines(result)
    assert first == "inventory: 100 % of 3.2/s fail since <999940>: FaultInjection slow, revision 2, by root"
    assert second == "inventory: a fault aborts 100 % with 503: FaultInjection slow"
    assert not result.healthy
    line = verdict_line(result.model_dump(), lambda _seconds: "08:02")
    assert line.startswith("inventory: 100 % of 3.2/s fail since 08:02: ")
    assert line.endswith(" (and 1 more)")


def test_failures_from_before_a_service_was_first_ready_are_no_problem() -> None:
    starting = FAILING.model_copy(update={"health": "healthy", "reason": ""})
    assert verdict(services=(starting,)).healthy


def test_a_service_that_is_called_after_it_left_says_so() -> None:
    row = FAILING.model_copy(update={"name": "gone", "health": "idle", "reason": ""})
    cause = FailureCause(0.0, "503 UH: no healthy instance is available")
    (line,) = lines(
        verdict(services=(row,), causes={"gone": cause}, more=(replace(service("gone"), instances=()),))
    )
    assert line.endswith(
        "no healthy instance is available; it has no instance: start one, or let nobody call it"
    )


@pytest.mark.parametrize("change", [{"success": 0.94}, {"refused_per_s": 2.0}], ids=["failed", "refused"])
def test_a_gateway_is_judged_by_its_requests(change: dict[str, float]) -> None:
    row = ServiceSummary(name="ingress", role="gateway", health="degraded", rps=3.0, **change)
    (line,) = lines(verdict(services=(row,)))
    assert line == (
        "ingress: 6 % of 3.0/s fail" if "success" in change else "ingress: 67 % of 3.0/s are refused"
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"services": (HEALTHY.model_copy(
            update={"health": "unhealthy", "reason": "a-1: its lease expired", "since": 5.0, "rps": 0.0}),)},
         "inventory: a-1: its lease expired since <5>"),
        ({"proxies": (INGRESS, INGRESS.model_copy(
            update={"name": "b-1", "state": "rejected", "rejected_revision": 4, "error": "bad port"}))},
         "b-1: rejected revision 4: bad port"),
        ({"breakers": (Breaker(from_="a", to="b", state="open", ejected=2, hosts=2),)},
         "a → b: circuit breaker open: 2 of 2 instances ejected"),
        ({"problems": ("the store is away",)}, "control plane: the store is away"),
        ({"control_planes": (ControlPlaneStatus(
            address="h:1", state="unreachable", unreachable_seconds=3, error="refused"),)},
         "control plane h:1: unreachable for 3 s: refused"),
        ({"reports": (ProxyReport(node="a-1", service="a", expires=NOW + 600),)},
         "a-1: its certificate expires in 10 min: its renewal is overdue"),
        ({"reports": (ProxyReport(node="a-1", service="a", expires=NOW - 1),)},
         "a-1: its certificate has expired"),
        ({"reports": (ProxyReport(node="a-1", service="a", certificates=(
            CertificateReport(name="shop", state="missing", message="shop.crt: gone"),)),)},
         "a-1: Certificate/shop: is missing: shop.crt: gone"),
        ({"reports": (ProxyReport(node="a-1", service="a", certificates=(
            CertificateReport(name="ExternalService/cards", state="stale", message="c.key: gone"),)),)},
         "a-1: ExternalService/cards: is stale: c.key: gone"),
        ({"certificates": {"root": NOW + 10 * 86400}}, "root certificate: its certificate expires in 10 d"),
        ({"text": ""}, "gateway ingress: has no route, every request gets 404: apply an HTTPRoute with "
         "parentRefs: [{kind: Gateway, name: ingress}]"),
        ({"proxies": ()}, "gateway ingress: has routes and no connected proxy"),
    ],
)  # fmt: skip
def test_what_is_not_well_is_a_problem(fields: dict[str, Any], expected: str) -> None:
    result = verdict(**fields)
    assert (lines(result), result.healthy) == ([expected], False)


def test_a_gateway_that_leads_outside_needs_no_routes_but_a_proxy() -> None:
    text = (
        "---\napiVersion: meshwright.io/v1\nkind: ExternalService\nmetadata: {name: cards}\n"
        "spec: {hosts: [cards.example], via: {name: ingress}}\n"
    )
    assert verdict(text).healthy
    assert lines(verdict(text, proxies=())) == [
        "gateway ingress: has calls to let out and no connected proxy"
    ]


@pytest.mark.parametrize("state", ["idle", "unknown", "healthy"])
def test_absence_is_no_problem(state: str) -> None:
    row = HEALTHY.model_copy(update={"health": state, "rps": 0.0, "since": 3.0})
    assert verdict(services=(row,)).healthy


@pytest.mark.parametrize(
    ("state", "is_problem"),
    [("programmed", False), ("pending", False), ("unused", False), ("partial", True), ("no-effect", True),
     ("target-not-found", True), ("conflicted", True), ("rejected", True)],
)  # fmt: skip
def test_a_policy_that_does_less_than_it_says_is_a_problem(state: PolicyState, is_problem: bool) -> None:
    policy = PolicyStatus(kind="Timeout", name="x", state=state, reason="why")
    result = verdict(policies=(policy,))
    assert lines(result) == ([f"Timeout/x: {state.replace('-', ' ')}: why"] if is_problem else [])


def test_errors_come_before_warnings() -> None:
    result = verdict(FAULT, (HEALTHY,), problems=("the store is away",))
    assert [problem.severity for problem in result.problems] == ["error", "warning", "warning"]


def test_the_cause_is_that_of_most_failed_requests() -> None:
    world = exchange(FAULT)
    change = DocumentChange(action="created", kind="FaultInjection", name="slow")
    revision = RevisionInfo(revision=2, author="root", time=0.5, changed=(change,))
    policies = PolicyAttribution(world.documents, [revision], world.services, world.gateways)
    faulted = outbound_request(upstream="inventory", status=503, flags="FI", upstream_host="-", policies="-")
    by_app = inbound_request("orders", "storefront", status=500)
    cause = most_common_cause([by_app, faulted, faulted], policies, ())
    assert cause == "FaultInjection slow, revision 2, by root"
    assert most_common_cause([by_app], policies, ()) == "500: the app of orders responded with 500"
    assert most_common_cause([], policies, ()) == ""


def test_a_circuit_breaker_is_no_cause_where_it_keeps_nobody_out() -> None:
    world = exchange(BREAKER)
    policies = PolicyAttribution(world.documents, [], world.services, world.gateways)
    absent = outbound_request(upstream="inventory", status=503, flags="UH", upstream_host="-", policies="-")
    assert most_common_cause([absent], policies, {"inventory"}).startswith("CircuitBreaker limits")
    assert most_common_cause([absent], policies, {"orders"}).startswith("503 UH: ")


def test_a_failure_began_with_the_first_failing_point_of_the_last_run() -> None:
    ages_and_failures = [(12.0, 5), (10.0, 0), (8.0, 10), (6.0, None), (4.0, 10), (2.0, 9)]
    points = [
        HistoryPoint(age_s=age, requests=0 if failures is None else 10, failures=failures or 0)
        for age, failures in ages_and_failures
    ]
    assert failing_since(points, 0.95, NOW) == NOW - 8
    assert failing_since(points[:2], 0.95, NOW) == 0
