"""Why a request failed: from what proxies told of it to the policy, its revision and its author."""

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
from tests.control_plane.telemetry.records import BASE_TIME, inbound_request, outbound_request

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
    """A revision committed so many seconds before the request, which changed these."""
    changed = tuple(
        DocumentChange(kind=kind, name=name, action="changed")
        for kind, name in (ref.split("/") for ref in refs)
    )
    return RevisionInfo(
        revision=number, author=author, time=BASE_TIME - before, message="too much", changed=changed
    )


def ask(
    records: list[Request], *documents: PolicyDocument, changes: tuple[RevisionInfo, ...] = ()
) -> Explanation:
    found = explain_request("c8fe", records, None, PolicyAttribution(documents, changes, SERVICES), NOW)
    assert found is not None
    return found


LIMITS = policy("CircuitBreaker", "orders-limits", targetRefs=[ORDERS], maxRequests=10)
REFUSED: dict[str, Any] = {"status": 503, "flags": "UO", "upstream_host": "-", "attempts": 0, "policies": "-"}


def test_a_limit_names_policy_revision_and_author() -> None:
    changes = (
        revision(44, -60, "CircuitBreaker/orders-limits", author="eve"),
        revision(42, 20, "Retry/other"),
        revision(41, 80, "CircuitBreaker/orders-limits"),
        revision(40, 90, "CircuitBreaker/orders-limits", author="bob"),
    )
    found = ask([outbound_request(**REFUSED)], LIMITS, changes=changes)
    assert found.summary == (
        "503 UO at storefront → orders: CircuitBreaker orders-limits, revision 41, by ann, 3 minutes ago"
    )
    (reason,) = found.causes
    assert (reason.proxy, reason.flag) == ("storefront-1", "UO")
    (blamed,) = reason.policies
    assert (blamed.excerpt, blamed.revision, blamed.message) == ("maxRequests: 10", 41, "too much")


def test_a_policy_that_sets_no_limit_is_not_to_blame() -> None:
    found = ask([outbound_request(**REFUSED)], policy("CircuitBreaker", "patience", targetRefs=[ORDERS]))
    assert found.causes[0].policies == ()
    assert found.summary == (
        "503 UO at storefront → orders: a limit on connections or requests was reached, so the request was "
        "not sent"
    )


def test_the_most_specific_policy_is_to_blame() -> None:
    mine = policy("CircuitBreaker", "mine", targetRefs=[ORDERS], maxRequests=1, **{"from": ["storefront"]})
    others = policy("CircuitBreaker", "others", targetRefs=[ORDERS], maxRequests=1, **{"from": ["catalog"]})
    found = ask([outbound_request(**REFUSED)], LIMITS, mine, others)
    assert [one.name for one in found.causes[0].policies] == ["mine"]


TIMEOUT = policy("Timeout", "quick", targetRefs=[ORDERS], request="500ms")


def test_the_timeout_is_the_cause_and_the_reset_below_it_a_consequence() -> None:
    late = outbound_request(status=504, flags="UT", details="response_timeout", policies='["Timeout/quick"]')
    below = inbound_request("orders", "storefront", 1, status=0, flags="DR")
    found = ask([late, below], TIMEOUT)
    assert [one.flag for one in found.causes] == ["UT"]
    assert found.causes[0].policies[0].excerpt == "request: 500ms"
    assert [(one.service, one.depth) for one in found.hops] == [("storefront", 0), ("orders", 1)]


def test_the_limit_of_each_try_is_told_apart_from_that_of_the_request() -> None:
    both = (
        policy("Timeout", "quick", targetRefs=[ORDERS], request="5s"),
        policy("Retry", "twice", targetRefs=[ORDERS], perTryTimeout="200ms"),
    )
    late: dict[str, Any] = {"status": 504, "flags": "UT", "policies": '["Timeout/quick","Retry/twice"]'}
    each = ask([outbound_request(details="upstream_per_try_timeout", **late)], *both)
    assert [one.name for one in each.causes[0].policies] == ["twice"]
    whole = ask([outbound_request(details="response_timeout", **late)], *both)
    assert [one.name for one in whole.causes[0].policies] == ["quick"]


def test_a_routes_own_timeout_is_named_by_the_route() -> None:
    route = policy(
        "HTTPRoute", "slow",
        parentRefs=[ORDERS], rules=[{"backendRefs": [{"name": "orders"}], "timeouts": {"request": "1s"}}],
    )  # fmt: skip
    found = ask([outbound_request(status=504, flags="UT", policies='["HTTPRoute/slow"]')], route)
    (blamed,) = found.causes[0].policies
    assert (blamed.kind, blamed.name) == ("HTTPRoute", "slow")
    assert blamed.excerpt.startswith("timeouts: {request: 1s")


def test_a_policy_deleted_since_then_is_still_named() -> None:
    """What was in force is of the revision at that time; nothing newer counts."""
    changes = (revision(9, -30), revision(8, 10, "CircuitBreaker/orders-limits"))
    assert "revision 8, by ann" in ask([outbound_request(**REFUSED)], LIMITS, changes=changes).summary


def test_the_deepest_failure_is_the_cause() -> None:
    way = [
        outbound_request(
            "ingress", 0, direction="ingress", upstream="storefront", status=503, duration_ms=40
        ),
        inbound_request("storefront", "ingress", 1, status=503, duration_ms=38),
        outbound_request("storefront", 5, duration_ms=2, request_id="another", **REFUSED),
    ]
    found = ask(way, LIMITS)
    assert found.summary.startswith("503 UO at storefront → orders: CircuitBreaker orders-limits")
    assert [one.depth for one in found.hops] == [0, 1, 2]
    assert len(found.causes) == 1


def test_tries_that_failed_are_told_with_what_failed_in_them() -> None:
    retry = policy("Retry", "twice", targetRefs=[ORDERS], attempts=2, on=["5xx"])
    sent = outbound_request(status=503, flags="URX", attempts=3, duration_ms=90, policies='["Retry/twice"]')
    tries = [inbound_request("orders", "storefront", at, status=503, duration_ms=5) for at in (1, 30, 60)]
    found = ask([sent, *tries], retry)
    assert found.summary == "503 at storefront → orders: the app of orders responded with 503"
    given_up = found.causes[-1]
    assert (given_up.flag, given_up.policies[0].name) == ("URX", "twice")
    assert given_up.message.endswith("3 attempts")


def test_what_the_app_answered_is_no_policys_doing() -> None:
    found = ask(
        [outbound_request(status=503), inbound_request("orders", "storefront", 1, status=503)],
        LIMITS,
        TIMEOUT,
    )
    assert found.summary == "503 at storefront → orders: the app of orders responded with 503"
    assert found.causes[0].policies == ()


def test_a_grpc_call_ends_by_its_own_status() -> None:
    call: dict[str, Any] = {"content_type": "application/grpc", "grpc_status": "Unavailable", "status": 200}
    refused = {**call, "flags": "UO", "upstream_host": "-"}
    assert ask([outbound_request(**refused)], LIMITS).summary.startswith(
        "Unavailable UO at storefront → orders: Circuit"
    )
    assert ask([outbound_request(**call)]).summary.endswith(
        ": orders itself responded with Unavailable, not a proxy"
    )


def test_an_unknown_flag_and_a_closed_connection_are_told_plainly() -> None:
    closed = ask([outbound_request(status=503, flags="UC", failure="reset by peer")])
    assert closed.summary.endswith(": the instance closed the connection before it responded: reset by peer")
    assert "an unknown response flag" in ask([outbound_request(status=503, flags="QQ")]).summary


def test_no_route_names_the_routes_that_might_have_matched() -> None:
    lost: dict[str, Any] = {
        "status": 404,
        "flags": "NR",
        "upstream": "-",
        "upstream_host": "-",
        "policies": "-",
    }
    assert ask([outbound_request(host="nowhere", **lost)]).summary.endswith("there is no service 'nowhere'")
    route = policy(
        "HTTPRoute", "orders",
        parentRefs=[ORDERS],
        rules=[{"matches": [{"path": {"value": "/v2"}}], "backendRefs": [{"name": "orders"}]}],
    )  # fmt: skip
    found = ask([outbound_request(**lost)], route, changes=(revision(3, 5, "HTTPRoute/orders"),))
    assert found.summary == (
        "404 NR at storefront → orders: no route matches GET /api/orders of HTTPRoute orders, revision 3, "
        "by ann, 1 minute ago"
    )


def test_of_several_routes_the_one_that_changed_last_is_named() -> None:
    rule = {"matches": [{"path": {"value": "/v2"}}], "backendRefs": [{"name": "orders"}]}
    routes = [
        policy("HTTPRoute", name, parentRefs=[{"kind": "Gateway", "name": "ingress"}], rules=[rule])
        for name in ("a", "b", "c")
    ]
    lost = outbound_request(
        "ingress", direction="ingress", status=404, flags="NR", upstream="-", upstream_host="-"
    )
    found = ask([lost], *routes, changes=(revision(9, 5, "HTTPRoute/b"), revision(1, 9)))
    assert found.summary.startswith(
        "404 NR at ingress: no route matches GET /api/orders of 3 routes; the last changed one is HTTPRoute b, "
        "revision 9, by ann"
    )


def test_an_injected_fault_names_its_policy() -> None:
    fault = policy("FaultInjection", "chaos", targetRefs=[ORDERS], abort={"status": 503})
    found = ask([outbound_request(status=503, flags="FI", policies='["FaultInjection/chaos"]')], fault)
    assert "FaultInjection chaos" in found.summary
    assert found.causes[0].policies[0].excerpt.startswith("abort: {status: 503")


def test_a_part_that_was_given_up_is_told_though_the_whole_went_well() -> None:
    delay = policy("FaultInjection", "slow", targetRefs=[ORDERS], delay={"fixed": "2s"})
    way = [
        inbound_request("storefront", "ingress", 0, duration_ms=1015),
        outbound_request(
            after_ms=2, status=0, flags="DI,DC", duration_ms=1000, policies='["FaultInjection/slow"]'
        ),
    ]
    found = ask(way, delay)
    assert found.verdict == "slow"
    assert found.summary.startswith(
        "200 after 1.01 s, but a call below it failed: DI at storefront → orders: FaultInjection slow"
    )
    assert [one.flag for one in found.causes] == ["DI", "DC"]


def test_a_slow_request_names_where_the_time_went() -> None:
    sent = outbound_request(duration_ms=1400, attempts=2, policies='["Timeout/quick"]')
    below = inbound_request("orders", "storefront", 2, duration_ms=1390)
    found = ask([sent, below], TIMEOUT)
    assert found.verdict == "slow"
    assert found.summary == "200 after 1.40 s: 1.39 s of 1.39 s were spent in the app of orders"
    alone = ask([sent], TIMEOUT)
    assert "in orders or on the way there, measured by storefront, in 2 attempts" in alone.summary
    assert alone.causes[0].policies[0].name == "quick"


def test_a_fast_request_is_fine() -> None:
    assert ask([outbound_request()]).verdict == "fine"


def test_nothing_known_is_nothing_told() -> None:
    assert explain_request("c8fe", [], None, PolicyAttribution(()), NOW) is None


def span(id: str, parent: str, service: str, start: float, duration: float, **attributes: str) -> Span:
    named = {"http.url": f"http://{service}/api/orders?q=1", "http.method": "GET", "http.status_code": "503"}
    return Span(
        id=id, parent=parent, service=service, instance=f"{service}-1", proxy=True, operation="x",
        kind="server", start=BASE_TIME + start, duration=duration,
        attributes={**named, "component": "proxy", "response_flags": "-", **attributes}, error=True,
        flags=describe(attributes.get("response_flags", "-")),
    )  # fmt: skip


def test_a_trace_alone_explains_as_a_log_does() -> None:
    trace = Trace(
        id="4bf92f3577b34da6a3ce929d0e0e4736", service="ingress", operation="x", start=BASE_TIME, duration=20,
        spans=3,
        tree=(
            span("a", "", "ingress", 0, 20, upstream_cluster="storefront"),
            span("b", "a", "storefront", 0.001, 18, upstream_cluster="/app/http"),
            span("c", "b", "storefront", 0.002, 3, upstream_cluster="orders", response_flags="UO"),
        ),
    )  # fmt: skip
    found = explain_request("4bf9", [], trace, PolicyAttribution((LIMITS,), (), SERVICES, ("ingress",)), NOW)
    assert found is not None
    assert found.source == "trace"
    assert found.summary == "503 UO at storefront → orders: CircuitBreaker orders-limits, revision 1"
    assert [(one.service, one.direction, one.depth) for one in found.hops] == [
        ("ingress", "ingress", 0), ("storefront", "inbound", 1), ("storefront", "outbound", 2),
    ]  # fmt: skip
    assert found.hops[0].request == "GET /api/orders"
    log = [outbound_request(after_ms=2, **REFUSED)]
    both = explain_request("4bf9", log, trace, PolicyAttribution((LIMITS,), (), SERVICES, ("ingress",)), NOW)
    assert both is not None
    assert len(both.hops) == 3, "what both tell is one step"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "just now"),
        (1, "1 second ago"),
        (179, "2 minutes ago"),
        (7200, "2 hours ago"),
        (1e6, "11 days ago"),
    ],
)
def test_how_long_ago(seconds: float, words: str) -> None:
    assert time_ago(seconds) == words
