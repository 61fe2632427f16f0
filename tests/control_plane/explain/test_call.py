"""The way of a request, from the resources of the caller's sidecar and those of the called service."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from meshwright.control_plane.api.models.authorization import AccessQuery
from meshwright.control_plane.api.models.call_explanation import ExplainedHop
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core.snapshot import Bindings
from meshwright.control_plane.core.views import NO_EDGE_SETTINGS
from meshwright.control_plane.errors import InputError, NotFoundError
from meshwright.control_plane.policies.gateway.edge import EdgeSettings
from meshwright.control_plane.status.explained_probe import expected, question
from tests.control_plane.core.worlds import exchange, mesh, route, subset
from tests.control_plane.explain.asking import explain, step

INVENTORY = "{kind: Service, name: inventory}"
SPLIT = route(
    "split",
    """{matches: [{method: POST, path: {value: /old}}]}, {matches: [{path: {value: /cart}}],
      filters: [
        {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-a, value: '1'}], remove: [x-b]}},
        {type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /basket}}}],
      backendRefs: [{group: meshwright.io, kind: Subset, name: v2, weight: 3}, {name: inventory}]},
     {matches: [{path: {value: /moved}}],
      filters: [{type: RequestRedirect, requestRedirect: {hostname: x.org, statusCode: 301}}]}""",
) + subset("v2")  # fmt: skip
RULES = """rules: [
  {name: reserve, from: [{services: [orders]}], to: [{methods: [POST], paths: [{value: /reservations}]}]},
  {name: admin, from: [{claims: [{name: realm.role, values: [admin]}]}]},
  {name: secret, action: deny, to: [{paths: [{value: /secret}]}]}]"""
ACCESS = mesh("Authorization", "access", RULES, INVENTORY)


def test_a_request_without_policies_is_forwarded_to_the_app_by_mutual_tls() -> None:
    result = explain("", path="/any")
    assert (result.verdict, result.summary) == ("forwarded", "forwarded to inventory")
    caller, callee = result.hops
    assert (caller.proxy, caller.direction, callee.proxy, callee.direction) == (
        "orders", "outbound", "inventory", "inbound",
    )  # fmt: skip
    assert step(caller, "transport").text == "mutual TLS to spiffe://mesh.local/service/inventory"
    assert step(caller, "instances").text == "2 healthy"
    assert "mutual TLS from spiffe://mesh.local/service/orders" in step(callee, "listener").text
    assert step(callee, "application").text == "at its port http, on loopback"
    assert (callee.proxies, callee.synced) == (2, 1)


def test_each_share_of_a_route_is_explained_with_its_changes() -> None:
    caller, callee = explain(SPLIT, path="/cart/7?x=1", headers=(("x-b", "2"), ("x-c", "3"))).hops
    assert [(item.cluster, item.share) for item in caller.routes] == [
        ("inventory/v2", 0.75),
        ("inventory", 0.25),
    ]
    for taken in caller.routes:
        assert (taken.name, taken.path) == ("HTTPRoute/split", "/basket/7?x=1")
        assert taken.headers == (("x-c", "3"), ("x-a", "1"))
    assert step(caller, "changes").details == ("- x-b: 2", "+ x-a: 1", "path: /cart/7?x=1 → /basket/7?x=1")
    assert callee.of_routes == (0, 1)
    assert callee.routes[0].path == "/basket/7?x=1"


def test_routes_that_do_not_match_say_why_and_the_policy_says_where_it_is() -> None:
    caller, *_ = explain(SPLIT, path="/old", method="POST").hops
    assert "HTTPRoute/split: path /old is not /moved or below" in step(caller, "route").details
    caller, *_ = explain(SPLIT, path="/moved/a").hops
    (taken,) = caller.routes
    assert (taken.status, taken.location) == (301, "http://x.org/moved/a")
    chosen = step(caller, "route")
    assert chosen.text == "HTTPRoute/split, route 2 of 5: path /moved or below"
    assert [(policy.name, policy.source) for policy in chosen.policies] == [
        ("HTTPRoute/split", "split.yaml:1")
    ]


def test_a_rule_with_several_matches_says_once_why_it_does_not_match() -> None:
    twice = "{matches: [{method: GET, path: {value: /a}}, {method: PUT, path: {value: /a}}]}"
    caller, *_ = explain(route("twice", twice), path="/b").hops
    reasons = [item for part in (*caller.steps, *caller.routes[0].steps) for item in part.details]
    assert len([item for item in reasons if "/b is not /a" in item]) == 1, reasons


EXTERNAL = """---
apiVersion: meshwright.io/v1
kind: ExternalService
metadata: {name: pay}
spec: {hosts: [pay.example.com], ports: [{port: 80, protocol: http}], from: [orders]}
"""
ORDERS = Identity("mesh.local", "service", "orders")
INGRESS = Identity("mesh.local", "gateway", "ingress")


def test_a_host_outside_is_allowed_by_its_declaration_or_by_outbound() -> None:
    def hop(text: str, host: str, bindings: Bindings, *, allowed: bool = True) -> ExplainedHop:
        world = replace(exchange(text), external_allowed=allowed)
        result = explain(world, service="", host=host, connected=[(ORDERS, bindings)])
        assert len(result.hops) == 1
        return result.hops[0]

    usual = Bindings()
    declared = hop(EXTERNAL, "pay.example.com", usual, allowed=False)
    assert (declared.routes[0].cluster, declared.routes[0].status) == ("/external/pay", 0)
    assert [policy.source for policy in step(declared, "outbound").policies] == ["pay.yaml:1"]
    passed_on = hop("", "pay.example.com", usual)
    assert passed_on.routes[0].cluster == "/external"
    assert step(passed_on, "outbound").text.startswith("allow: ")
    for bindings, allowed in ((usual, False), (Bindings(outside="deny"), True)):
        denied = hop(EXTERNAL, "other.example.com", bindings, allowed=allowed)
        assert step(denied, "outbound").text.startswith("deny: ")
        assert denied.routes[0].status == 403
    assert hop("", "any.example.com", Bindings(outside="allow"), allowed=False).routes[0].status == 0


def test_what_a_gateway_believes_and_limits_is_that_of_its_document_and_its_application_file() -> None:
    def hop(text: str = "", edge: EdgeSettings = NO_EDGE_SETTINGS, **query: Any) -> ExplainedHop:
        entry = route("entry", "{backendRefs: [{name: orders}]}", "{kind: Gateway, name: ingress, "
                      "group: gateway.networking.k8s.io}")  # fmt: skip
        connected = [(INGRESS, Bindings(edge=edge))]
        return explain(entry + text, gateway="ingress", connected=connected, **query).hops[0]

    client = step(hop(), "client")
    assert client.text == "not believed about the real client (trustedProxies)"
    assert "paths: Normalize" in client.details
    file = EdgeSettings(trusted_proxies=2, request_timeout=timedelta(seconds=7), paths="Keep")
    client = step(hop(edge=file), "client")
    assert client.text.startswith("believed about the real client, behind 2 of trustedProxies")
    assert {"requestTimeout: 7s", "paths: Keep"} <= set(client.details)
    underscore = (("x_user", "a"),)
    assert hop(headers=underscore).routes[0].status == 400
    passed = hop(edge=EdgeSettings(underscore_headers="Keep"), headers=underscore)
    assert passed.routes[0].status == 0


def test_a_request_that_no_route_takes_gets_404_with_every_reason() -> None:
    result = explain(SPLIT, path="/old")
    assert (result.verdict, len(result.hops)) == ("refused", 1)
    assert result.hops[0].routes[0].status == 404
    assert step(result.hops[0], "route").details == (
        "HTTPRoute/split: path /old is not /moved or below",
        "HTTPRoute/split: path /old is not /cart or below",
        "HTTPRoute/split: method = POST: it is 'GET'",
    )


def test_an_ambiguous_path_is_refused_where_routes_decide_by_path() -> None:
    result = explain(SPLIT, path="/cart/../x")
    assert (result.verdict, result.hops[0].routes[0].status) == ("refused", 400)


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ({"method": "POST", "path": "/reservations?x=1"}, 0, "allowed by rule Authorization/access/reserve"),
        ({"path": "/reservations"}, 403, "no allow rule matches"),
        (
            {"path": "/secret", "claims": {"realm.role": "admin"}},
            403,
            "denied by rule Authorization/access/secret",
        ),
        ({"path": "/any", "claims": {"realm.role": "user"}}, 403, "no allow rule matches"),
    ],
)
def test_the_callees_authorization_gives_its_verdict(query: dict[str, Any], status: int, text: str) -> None:
    result = explain(ACCESS, **query)
    callee = result.hops[-1]
    assert callee.routes[0].status == status
    decision = step(callee, "authorization")
    assert (decision.text, decision.verdict) == (text, "refuses" if status else "passes")
    assert [policy.name for policy in decision.policies] == ["Authorization/access"]
    assert result.verdict == ("refused" if status else "forwarded")


def test_limits_and_faults_are_uncertain_and_timeouts_are_named() -> None:
    policies = (
        mesh("FaultInjection", "abort", "abort: {status: 418, percent: 20}", INVENTORY)
        + mesh("RateLimit", "few", "limits: [{requests: 5, per: 1s}]", INVENTORY)
        + mesh("Timeout", "slow", "request: 3s", INVENTORY)
        + mesh("Retry", "again", "attempts: 2", INVENTORY)
    )
    result = explain(policies)
    caller, callee = result.hops
    assert (result.verdict, caller.routes[0].certain) == ("may be refused", False)
    assert step(callee, "RateLimit").text == "refused with 429 above the limit"
    assert step(caller, "fault").text == "answers 20 % with status 418"
    assert step(caller, "timeout").text == "3s"
    assert step(caller, "timeout").policies[0].name == "Timeout/slow"
    assert step(caller, "retries").policies[0].name == "Retry/again"


def test_a_probe_asks_what_the_callers_proxy_sends() -> None:
    query: dict[str, Any] = {"caller": "orders", "service": "inventory", "path": "/cart/7", "method": "POST"}
    result = explain(SPLIT + ACCESS, **query)
    probed = question(result, AccessQuery(**query))
    assert (probed.service, probed.path, probed.headers) == ("inventory", "/basket/7", (("x-a", "1"),))
    assert expected(result) == "denied"
    assert expected(explain(SPLIT, **query)) == "allowed"
    with pytest.raises(InputError, match="no sidecar to ask: answered by the proxy of orders with 301"):
        question(explain(SPLIT, path="/moved"), AccessQuery(**query))


def test_a_request_to_a_gateway_has_a_host_by_default() -> None:
    result = explain("", gateway="ingress")
    assert [route.host for route in result.hops[0].routes] == ["localhost"]
    assert result.summary == "refused by the proxy of ingress with 404: route: none matches"


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        ({"caller": "nobody"}, NotFoundError, "no such service or gateway"),
        ({"service": "nobody"}, NotFoundError, "no such service"),
        ({"caller": ""}, InputError, "name the caller"),
        ({"gateway": "nobody"}, NotFoundError, "no such gateway"),
        ({"port": "grpc"}, InputError, "its ports are http"),
    ],
)
def test_mistakes_are_one_line(query: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        explain("", **query)


def test_a_document_with_many_rules_gives_its_nearest_reasons() -> None:
    paths = [f"{{matches: [{{path: {{value: /p{number}}}}}]}}" for number in range(9)]
    put = "{matches: [{method: PUT, path: {value: /b}}]}"
    caller, *_ = explain(route("many", ", ".join([*paths, put])), path="/b").hops
    assert step(caller, "route").details == (
        "HTTPRoute/many: method = PUT: it is 'GET'",
        "HTTPRoute/many: path /b is not /p0 or below",
        "HTTPRoute/many: path /b is not /p1 or below",
        "HTTPRoute/many: and 7 more reasons",
    )


def test_a_route_is_described_without_what_its_other_conditions_imply() -> None:
    long = "/b/" + "(?:[a-z]|x){3}" * 8
    expression = f"{{matches: [{{method: GET, path: {{type: RegularExpression, value: '{long}'}}}}]}}"
    caller, *_ = explain(route("long", expression), path="/b/" + "x" * 24).hops
    text = step(caller, "route").text
    assert text.startswith("HTTPRoute/long, route ")
    assert text.endswith(f"path matched by {long[:59]}…, method = GET")
