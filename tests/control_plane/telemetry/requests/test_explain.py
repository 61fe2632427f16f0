"""Explanations: from log records and spans to the policy, its revision and its author."""

from __future__ import annotations

from typing import Any

import pytest

from meshwright.control_plane.api.models.requests import Explanation, Request
from meshwright.control_plane.api.models.revisions import DocumentChange, RevisionInfo
from meshwright.control_plane.api.models.traces import Span, Trace
from meshwright.control_plane.core.world import PolicyDocument
from meshwright.control_plane.policies.registry import kinds
from meshwright.control_plane.telemetry.requests.attribution import PolicyAttribution
from meshwright.control_plane.telemetry.requests.explain import explain_request
from meshwright.control_plane.telemetry.requests.explain_text import time_ago
from meshwright.control_plane.telemetry.requests.response_flags import describe
from tests.control_plane.telemetry.log_exports import BASE_TIME, inbound_request, outbound_request

NOW = BASE_TIME + 100
ORDERS = {"kind": "Service", "name": "orders"}
SERVICES = ("storefront", "orders", "catalog")


def policy(kind: str, name: str, **spec: Any) -> PolicyDocument:
    body = {
        "apiVersion": "gateway.networking.k8s.io/v1" if kind.endswith("Route") else "meshwright.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }
    return PolicyDocument(kinds()[kind].model_validate(body), 1)


def revision(number: int, before: float, *refs: str, author: str = "ann") -> RevisionInfo:
    """A revision that changed `refs`, committed `before` seconds before the request."""
    changed = tuple(
        DocumentChange(kind=kind, name=name, action="changed")
        for kind, name in (ref.split("/") for ref in refs)
    )
    return RevisionInfo(
        revision=number, author=author, time=BASE_TIME - before, message="too many requests", changed=changed
    )


def explain(
    records: list[Request], *documents: PolicyDocument, changes: tuple[RevisionInfo, ...] = ()
) -> Explanation:
    explanation = explain_request("c8fe", records, None, PolicyAttribution(documents, changes, SERVICES), NOW)
    assert explanation is not None
    return explanation


LIMITS = policy("CircuitBreaker", "orders-limits", targetRefs=[ORDERS], maxRequests=10)
OVERFLOW: dict[str, Any] = {
    "status": 503,
    "flags": "UO",
    "upstream_host": "-",
    "attempts": 0,
    "policies": "-",
}


def test_a_limit_names_policy_revision_and_author() -> None:
    changes = (
        revision(44, -60, "CircuitBreaker/orders-limits", author="eve"),
        revision(42, 20, "Retry/other"),
        revision(41, 80, "CircuitBreaker/orders-limits"),
        revision(40, 90, "CircuitBreaker/orders-limits", author="bob"),
    )
    explanation = explain([outbound_request(**OVERFLOW)], LIMITS, changes=changes)
    assert explanation.summary == (
        "503 UO at storefront → orders: CircuitBreaker orders-limits, revision 41, by ann, 3 minutes ago"
    )
    (reason,) = explanation.causes
    assert (reason.proxy, reason.flag) == ("storefront-1", "UO")
    (responsible,) = reason.policies
    assert (responsible.excerpt, responsible.revision, responsible.message) == (
        "maxRequests: 10",
        41,
        "too many requests",
    )


def test_a_policy_without_limits_is_not_responsible() -> None:
    explanation = explain(
        [outbound_request(**OVERFLOW)], policy("CircuitBreaker", "patience", targetRefs=[ORDERS])
    )
    assert explanation.causes[0].policies == ()
    assert explanation.summary == (
        "503 UO at storefront → orders: a limit on connections or requests was reached, so the request was "
        "not sent"
    )


def test_the_most_specific_policy_is_responsible() -> None:
    mine = policy("CircuitBreaker", "mine", targetRefs=[ORDERS], maxRequests=1, **{"from": ["storefront"]})
    others = policy("CircuitBreaker", "others", targetRefs=[ORDERS], maxRequests=1, **{"from": ["catalog"]})
    explanation = explain([outbound_request(**OVERFLOW)], LIMITS, mine, others)
    assert [responsible_policy.name for responsible_policy in explanation.causes[0].policies] == ["mine"]


TIMEOUT = policy("Timeout", "quick", targetRefs=[ORDERS], request="500ms")


def test_the_timeout_is_the_cause_and_the_reset_below_it_a_consequence() -> None:
    timed_out = outbound_request(
        status=504, flags="UT", details="response_timeout", policies='["Timeout/quick"]'
    )
    below = inbound_request("orders", "storefront", 1, status=0, flags="DR")
    explanation = explain([timed_out, below], TIMEOUT)
    assert [cause.flag for cause in explanation.causes] == ["UT"]
    assert explanation.causes[0].policies[0].excerpt == "request: 500ms"
    assert [(hop.service, hop.depth) for hop in explanation.hops] == [("storefront", 0), ("orders", 1)]


def test_per_try_and_request_timeouts_are_told_apart() -> None:
    both = (
        policy("Timeout", "quick", targetRefs=[ORDERS], request="5s"),
        policy("Retry", "twice", targetRefs=[ORDERS], perTryTimeout="200ms"),
    )
    timed_out: dict[str, Any] = {"status": 504, "flags": "UT", "policies": '["Timeout/quick","Retry/twice"]'}
    explanation = explain([outbound_request(details="upstream_per_try_timeout", **timed_out)], *both)
    assert [responsible_policy.name for responsible_policy in explanation.causes[0].policies] == ["twice"]
    value = explain([outbound_request(details="response_timeout", **timed_out)], *both)
    assert [responsible_policy.name for responsible_policy in value.causes[0].policies] == ["quick"]


def test_an_inline_timeout_names_its_route() -> None:
    route = policy(
        "HTTPRoute", "slow",
        parentRefs=[ORDERS], rules=[{"backendRefs": [{"name": "orders"}], "timeouts": {"request": "1s"}}],
    )  # fmt: skip
    explanation = explain([outbound_request(status=504, flags="UT", policies='["HTTPRoute/slow"]')], route)
    (responsible,) = explanation.causes[0].policies
    assert (responsible.kind, responsible.name) == ("HTTPRoute", "slow")
    assert responsible.excerpt.startswith("timeouts: {request: 1s")


def test_changes_after_the_request_are_ignored() -> None:
    """What was in force is of the revision at that time; nothing newer counts."""
    changes = (revision(9, -30), revision(8, 10, "CircuitBreaker/orders-limits"))
    assert "revision 8, by ann" in explain([outbound_request(**OVERFLOW)], LIMITS, changes=changes).summary


def test_the_deepest_failure_is_the_cause() -> None:
    requests = [
        outbound_request(
            "ingress", 0, direction="ingress", upstream="storefront", status=503, duration_ms=40
        ),
        inbound_request("storefront", "ingress", 1, status=503, duration_ms=38),
        outbound_request("storefront", 5, duration_ms=2, request_id="another", **OVERFLOW),
    ]
    explanation = explain(requests, LIMITS)
    assert explanation.summary.startswith("503 UO at storefront → orders: CircuitBreaker orders-limits")
    assert [hop.depth for hop in explanation.hops] == [0, 1, 2]
    assert len(explanation.causes) == 1


def test_failed_attempts_name_their_cause_and_the_retry_policy() -> None:
    retry = policy("Retry", "twice", targetRefs=[ORDERS], attempts=2, on=["5xx"])
    sent = outbound_request(status=503, flags="URX", attempts=3, duration_ms=90, policies='["Retry/twice"]')
    tries = [inbound_request("orders", "storefront", at, status=503, duration_ms=5) for at in (1, 30, 60)]
    explanation = explain([sent, *tries], retry)
    assert explanation.summary == "503 at storefront → orders: the app of orders responded with 503"
    given_up = explanation.causes[-1]
    assert (given_up.flag, given_up.policies[0].name) == ("URX", "twice")
    assert given_up.message.endswith("3 attempts")


def test_an_error_of_the_app_has_no_responsible_policy() -> None:
    explanation = explain(
        [outbound_request(status=503), inbound_request("orders", "storefront", 1, status=503)],
        LIMITS,
        TIMEOUT,
    )
    assert explanation.summary == "503 at storefront → orders: the app of orders responded with 503"
    assert explanation.causes[0].policies == ()


def test_a_grpc_call_is_explained_by_its_grpc_status() -> None:
    call: dict[str, Any] = {"content_type": "application/grpc", "grpc_status": "Unavailable", "status": 200}
    refused = {**call, "flags": "UO", "upstream_host": "-"}
    assert explain([outbound_request(**refused)], LIMITS).summary.startswith(
        "Unavailable UO at storefront → orders: Circuit"
    )
    assert explain([outbound_request(**call)]).summary.endswith(
        ": orders itself responded with Unavailable, not a proxy"
    )


def test_an_unknown_flag_and_a_closed_connection_have_a_sentence() -> None:
    closed = explain([outbound_request(status=503, flags="UC", failure="reset by peer")])
    assert closed.summary.endswith(": the instance closed the connection before it responded: reset by peer")
    assert "an unknown response flag" in explain([outbound_request(status=503, flags="QQ")]).summary


def test_no_route_names_the_candidate_route() -> None:
    unrouted: dict[str, Any] = {
        "status": 404,
        "flags": "NR",
        "upstream": "-",
        "upstream_host": "-",
        "policies": "-",
    }
    assert explain([outbound_request(host="nowhere", **unrouted)]).summary.endswith(
        "there is no service 'nowhere'"
    )
    route = policy(
        "HTTPRoute", "orders",
        parentRefs=[ORDERS],
        rules=[{"matches": [{"path": {"value": "/v2"}}], "backendRefs": [{"name": "orders"}]}],
    )  # fmt: skip
    explanation = explain(
        [outbound_request(**unrouted)], route, changes=(revision(3, 5, "HTTPRoute/orders"),)
    )
    assert explanation.summary == (
        "404 NR at storefront → orders: HTTPRoute orders does not match GET /api/orders "
        "(revision 3, by ann, 1 minute ago)"
    )


def test_no_route_names_the_last_changed_of_several_routes() -> None:
    rule = {"matches": [{"path": {"value": "/v2"}}], "backendRefs": [{"name": "orders"}]}
    routes = [
        policy("HTTPRoute", name, parentRefs=[{"kind": "Gateway", "name": "ingress"}], rules=[rule])
        for name in ("a", "b", "c")
    ]
    unrouted = outbound_request(
        "ingress", direction="ingress", status=404, flags="NR", upstream="-", upstream_host="-"
    )
    explanation = explain([unrouted], *routes, changes=(revision(9, 5, "HTTPRoute/b"), revision(1, 9)))
    assert explanation.summary.startswith(
        "404 NR at ingress: none of the 3 routes matches GET /api/orders; HTTPRoute b changed last "
        "(revision 9, by ann, "
    )


def test_an_injected_fault_names_its_policy() -> None:
    fault = policy("FaultInjection", "chaos", targetRefs=[ORDERS], abort={"status": 503})
    explanation = explain(
        [outbound_request(status=503, flags="FI", policies='["FaultInjection/chaos"]')], fault
    )
    assert "FaultInjection chaos" in explanation.summary
    assert explanation.causes[0].policies[0].excerpt.startswith("abort: {status: 503")


def test_a_failed_call_below_a_successful_request_is_explained() -> None:
    delay = policy("FaultInjection", "slow", targetRefs=[ORDERS], delay={"fixed": "2s"})
    requests = [
        inbound_request("storefront", "ingress", 0, duration_ms=1015),
        outbound_request(
            after_ms=2, status=0, flags="DI,DC", duration_ms=1000, policies='["FaultInjection/slow"]'
        ),
    ]
    explanation = explain(requests, delay)
    assert explanation.verdict == "slow"
    assert explanation.summary.startswith(
        "200 after 1.01 s, but a call below it failed: DI at storefront → orders: FaultInjection slow"
    )
    assert [cause.flag for cause in explanation.causes] == ["DI", "DC"]


def test_a_slow_request_names_where_the_time_was_spent() -> None:
    sent = outbound_request(duration_ms=1400, attempts=2, policies='["Timeout/quick"]')
    below = inbound_request("orders", "storefront", 2, duration_ms=1390)
    explanation = explain([sent, below], TIMEOUT)
    assert explanation.verdict == "slow"
    assert explanation.summary == "200 after 1.40 s: 1.39 s of 1.39 s were spent in the app of orders"
    alone = explain([sent], TIMEOUT)
    assert "in orders or on the way there, measured by storefront, in 2 attempts" in alone.summary
    assert alone.causes[0].policies[0].name == "quick"


def test_a_fast_request_is_fine() -> None:
    assert explain([outbound_request()]).verdict == "fine"


def test_without_records_and_spans_there_is_no_explanation() -> None:
    assert explain_request("c8fe", [], None, PolicyAttribution(()), NOW) is None


def span(id: str, parent: str, service: str, start: float, duration: float, **attributes: str) -> Span:
    named = {"http.url": f"http://{service}/api/orders?q=1", "http.method": "GET", "http.status_code": "503"}
    return Span(
        id=id, parent=parent, service=service, instance=f"{service}-1", proxy=True, operation="x",
        kind="server", start=BASE_TIME + start, duration=duration,
        attributes={**named, "component": "proxy", "response_flags": "-", **attributes}, error=True,
        flags=describe(attributes.get("response_flags", "-")),
    )  # fmt: skip


def test_a_trace_without_records_is_explained_alike() -> None:
    trace = Trace(
        id="4bf92f3577b34da6a3ce929d0e0e4736", service="ingress", operation="x", start=BASE_TIME, duration=20,
        spans=3,
        tree=(
            span("a", "", "ingress", 0, 20, upstream_cluster="storefront"),
            span("b", "a", "storefront", 0.001, 18, upstream_cluster="/app/http"),
            span("c", "b", "storefront", 0.002, 3, upstream_cluster="orders", response_flags="UO"),
        ),
    )  # fmt: skip
    explanation = explain_request(
        "4bf9", [], trace, PolicyAttribution((LIMITS,), (), SERVICES, ("ingress",)), NOW
    )
    assert explanation is not None
    assert explanation.source == "trace"
    assert explanation.summary == "503 UO at storefront → orders: CircuitBreaker orders-limits, revision 1"
    assert [(hop.service, hop.direction, hop.depth) for hop in explanation.hops] == [
        ("ingress", "ingress", 0), ("storefront", "inbound", 1), ("storefront", "outbound", 2),
    ]  # fmt: skip
    assert explanation.hops[0].request == "GET /api/orders"
    log = [outbound_request(after_ms=2, **OVERFLOW)]
    both = explain_request("4bf9", log, trace, PolicyAttribution((LIMITS,), (), SERVICES, ("ingress",)), NOW)
    assert both is not None
    assert len(both.hops) == 3, "a span and a record of one request are one hop"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "just now"),
        (1, "1 second ago"),
        (179, "2 minutes ago"),
        (7200, "2 hours ago"),
        (1e6, "11 days ago"),
    ],
)
def test_time_ago_uses_the_largest_unit(seconds: float, text: str) -> None:
    assert time_ago(seconds) == text


def test_an_explanation_is_about_that_request_even_if_others_share_its_trace() -> None:
    def call(id: str, after_ms: float, status: int) -> list[Request]:
        path = f"/{id}"
        return [
            outbound_request(
                "storefront", after_ms, request_id=id, path=path, status=status, duration_us=9000
            ),
            inbound_request(
                "orders",
                "storefront",
                after_ms + 1,
                request_id=id,
                path=path,
                status=status,
                duration_us=7000,
            ),
        ]

    def ask(id: str, records: list[Request]) -> Explanation:
        explanation = explain_request(id, records, None, PolicyAttribution((), (), SERVICES), NOW)
        assert explanation is not None
        return explanation

    # Two overlap, the third follows; the app of orders makes a call of its own for the second one.
    below = outbound_request(
        "orders", 4, request_id="second-id", host="catalog", upstream="catalog", status=502, duration_us=1000
    )
    records = [*call("first-id", 0, 500), *call("second-id", 2, 200), *call("third-id", 40, 200), below]
    assert [hop.request for hop in ask("first-id", records).hops] == ["GET /first-id"] * 2
    second = ask("second-id", records)
    assert [(hop.depth, hop.service, hop.status) for hop in second.hops] == [
        (0, "storefront", 200), (1, "orders", 200), (2, "orders", 502),
    ]  # fmt: skip
    assert second.summary.startswith("200 after 9.00 ms, but a call below it failed: 502 at orders → catalog")
    third = ask("third-id", records)
    assert (third.verdict, third.request, len(third.hops)) == ("fine", "third-id", 2)
    assert len(ask("4bf92f3577b34da6a3ce929d0e0e4736", records).hops) == 7, "a trace's ID means all of it"
