"""Who may call what, by the Authorizations in force: one call, every pair, and the calls that were seen."""

from __future__ import annotations

from typing import Any

import pytest

from meshwright.control_plane.api.models.authorization import AccessCheck, AccessQuery
from meshwright.control_plane.api.models.proxies import ProxyStatus
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.errors import InputError, NotFoundError
from meshwright.control_plane.status import access
from meshwright.control_plane.status.gateway_access import with_host
from meshwright.control_plane.telemetry.requests.attribution import PolicyAttribution
from tests.control_plane.core.worlds import exchange, mesh

INVENTORY = "{kind: Service, name: inventory}"
RULES = """rules: [
  {name: reserve, from: [{services: [orders]}], to: [{methods: [POST], paths: [{value: /reservations}]}]},
  {name: edge, from: [{gateways: [ingress]}]},
  {name: admin, from: [{claims: [{name: realm.role, values: [admin]}]}]},
  {name: secret, action: deny, to: [{paths: [{value: /secret}]}]}]"""
POLICY = mesh("Authorization", "inventory", RULES, INVENTORY)


def check(text: str = POLICY, **query: Any) -> AccessCheck:
    translation = translate(exchange(text))
    attribution = PolicyAttribution(translation.world.documents)
    proxies = [
        ProxyStatus(name=f"inventory-{number}", service="inventory", state=state, revision=1, error="")
        for number, state in ((1, "synced"), (2, "pending"), (3, "disconnected"))
    ]
    sources = {"Authorization/inventory": "policies/inventory.yaml:1"}
    fields = {"service": "inventory", **query}
    return access.check(translation, AccessQuery(**fields), attribution, sources, proxies)


@pytest.mark.parametrize(
    ("query", "allowed", "rule"),
    [
        ({"caller": "orders", "method": "POST", "path": "/reservations?x=1"}, True, "reserve"),
        ({"caller": "orders", "method": "GET", "path": "/reservations"}, False, ""),
        ({"caller": "ingress", "path": "/anything"}, True, "edge"),
        ({"caller": "ingress", "path": "/secret"}, False, "secret"),
        ({"caller": "catalog", "claims": {"realm.role": "admin"}}, True, "admin"),
        ({"caller": "catalog"}, False, ""),
        ({}, False, ""),
    ],
)
def test_a_call_is_decided_by_the_rule_that_matches(query: dict[str, Any], allowed: bool, rule: str) -> None:
    verdict = check(**query)
    assert (verdict.allowed, verdict.rule.removeprefix("Authorization/inventory/")) == (allowed, rule)
    (policy,) = verdict.policies
    assert (policy.name, policy.source) == ("Authorization/inventory", "policies/inventory.yaml:1")
    assert (verdict.sidecars, verdict.synced) == (2, 1)


def test_without_policies_every_call_is_allowed() -> None:
    verdict = check("", caller="orders")
    assert (verdict.allowed, verdict.policies) == (True, ())


def test_rules_on_trial_refuse_nothing_and_are_named() -> None:
    trial = mesh("Authorization", "trial", "rules: [{action: audit}]", INVENTORY)
    verdict = check(trial, caller="orders")
    assert verdict.allowed
    assert verdict.audited == ("Authorization/trial/0",)


@pytest.mark.parametrize(
    ("query", "error", "message"),
    [
        ({"caller": "nobody"}, NotFoundError, "nobody: the mesh has no such service or gateway"),
        ({"port": "grpc"}, InputError, "its ports are http"),
        ({"claims": {"a": "1", "a.b": "2"}}, InputError, "a has a value already"),
    ],
)
def test_mistakes_are_one_line(query: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        check(**query)


def matrix(text: str) -> dict[str, dict[str, str]]:
    """What each caller may do at each service."""
    result = access.matrix(translate(exchange(text)))
    return {
        row.service: {caller: row.callers.get(caller, row.others) for caller in result.callers}
        for row in result.services
    }


def test_the_matrix_tells_everything_something_and_nothing_apart() -> None:
    rules = """rules: [
      {from: [{services: [orders]}], to: [{methods: [POST]}]}, {from: [{gateways: [ingress]}]}]"""
    result = matrix(mesh("Authorization", "inventory", rules, INVENTORY))
    assert result["inventory"] == {
        "ingress": "allowed", "orders": "partly", "catalog": "denied", "inventory": "denied",
    }  # fmt: skip
    assert set(result["orders"].values()) == {"allowed"}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ("rules: [{action: deny, from: [{services: [orders]}]}]", "denied"),
        ("rules: [{action: deny, from: [{services: [orders]}], to: [{methods: [PUT]}]}]", "partly"),
        ("rules: [{from: [{services: ['*']}]}]", "allowed"),
        ("rules: [{from: [{services: ['*'], notServices: [orders]}]}]", "denied"),
        ("rules: [{from: [{services: [orders], addresses: [10.0.0.0/8]}]}]", "partly"),
        ("rules: [{from: [{services: [orders]}, {claims: [{name: a, values: [b]}]}]}]", "allowed"),
        ("rules: [{from: [{services: [orders]}]}, {action: deny, to: [{methods: [PUT]}]}]", "partly"),
    ],
)
def test_what_a_caller_may_do_at_a_service(rules: str, expected: str) -> None:
    assert matrix(mesh("Authorization", "a", rules, INVENTORY))["inventory"]["orders"] == expected


def test_a_default_of_the_mesh_denies_every_pair() -> None:
    result = matrix(mesh("Authorization", "all", "default: deny"))
    assert {value for row in result.values() for value in row.values()} == {"denied"}


# --- by a gateway -------------------------------------------------------------------------------------

SHOP = """---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  hostnames: [shop.example.com]
  rules:
  - name: stock
    matches: [{path: {value: /api/stock}, method: GET, queryParams: [{name: v, value: "2"}]}]
    filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /secret}}}]
    backendRefs: [{name: inventory}]
  - name: old
    matches: [{path: {type: Exact, value: /old}}]
    filters: [{type: RequestRedirect, requestRedirect: {path: {type: ReplaceFullPath, replaceFullPath: /}}}]
  - name: rest
    backendRefs: [{name: orders, weight: 1}, {name: inventory, weight: 1}]
"""
GATEWAY = """---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: ingress}}
spec: {{gatewayClassName: meshwright, listeners: [{}]}}
"""
EDGE = mesh(
    "Authorization",
    "edge",
    """rules: [
  {name: users, from: [{claims: [{name: role, values: [user]}]}]},
  {name: inside, from: [{addresses: [10.0.0.0/8]}], to: [{paths: [{value: /api}]}]}]""",
    "{kind: Gateway, name: ingress}",
)


@pytest.mark.parametrize(
    ("query", "allowed", "place", "rule"),
    [
        ({"path": "/x"}, False, "ingress", ""),
        ({"path": "/api/x", "address": "10.1.1.1"}, True, "inventory", "edge"),
        ({"path": "/x", "claims": {"role": "user"}}, True, "inventory", "edge"),
        ({"path": "/api/stock/1?v=2", "claims": {"role": "user"}}, False, "inventory", "secret"),
        ({"path": "/api/stock/1?v=1", "claims": {"role": "user"}}, True, "inventory", "edge"),
        ({"path": "/x/../api//stoc%6b/./1?v=2", "claims": {"role": "user"}}, False, "inventory", "secret"),
        ({"path": "/api%2Fstock", "claims": {"role": "user"}}, False, "ingress", ""),
        ({"path": "/old"}, True, "ingress", ""),
        ({"path": "/x", "host": "other"}, False, "ingress", ""),
    ],
)
def test_a_client_is_subject_to_the_gateway_and_then_to_the_service(
    query: dict[str, Any], allowed: bool, place: str, rule: str
) -> None:
    query = {"host": "Shop.example.com:80", "gateway": "ingress", "service": "", **query}
    verdict = check(POLICY + SHOP + EDGE, **query)
    assert (verdict.allowed, verdict.place, verdict.rule.rpartition("/")[2]) == (allowed, place, rule)


@pytest.mark.parametrize(
    ("listeners", "port", "host"),
    [
        ("{name: http, port: 80, protocol: HTTP}", "", "localhost"),
        ("{name: http, port: 80, protocol: HTTP, hostname: '*.example.com'}", "", "localhost"),
        ("{name: http, port: 80, protocol: HTTP, hostname: shop.example.com}", "", "shop.example.com"),
        (
            "{name: raw, port: 9000, protocol: TCP}, {name: a, port: 80, protocol: HTTP, hostname: a.test},"
            "{name: b, port: 80, protocol: HTTP, hostname: b.test}",
            "b",
            "b.test",
        ),
    ],
)
def test_a_call_to_a_gateway_names_its_listener_unless_it_has_a_host(
    listeners: str, port: str, host: str
) -> None:
    gateway = GATEWAY.format(listeners)
    resolver = translate(exchange(gateway)).resolver
    query = AccessQuery(gateway="ingress", port=port)
    assert with_host(query, resolver.listeners("ingress")).host == host
    with_one = query.model_copy(update={"host": "x"})
    assert with_host(with_one, resolver.listeners("ingress")) == with_one


def test_a_route_for_the_host_of_the_gateways_listener_takes_a_call_without_one() -> None:
    listener = "{name: http, port: 80, protocol: HTTP, hostname: shop.example.com}"
    call = {"service": "", "gateway": "ingress", "path": "/x"}
    assert check(GATEWAY.format(listener) + SHOP, **call).route == "HTTPRoute/shop"
    assert check(SHOP, **call).route == ""


def test_a_backends_header_changes_follow_those_of_the_route() -> None:
    modifier = "{{set: [{{name: x-a, value: {}}}]}}"
    changes = f"filters: [{{{{type: RequestHeaderModifier, requestHeaderModifier: {modifier}}}}}]"
    backends = ", ".join(
        f"{{name: inventory, port: {port}, {changes.format(value)}}}"
        for port, value in ((80, "one"), (80, "two"))
    )
    rule = f"  - {changes.format('route')}\n    backendRefs: [{backends}]\n"
    text = SHOP.partition("  - name: stock")[0] + rule

    def is_allowed(value: str) -> bool:
        rules = f"rules: [{{to: [{{headers: [{{name: x-a, value: {value}}}]}}]}}]"
        query = {"service": "", "gateway": "ingress", "host": "shop.example.com"}
        return check(mesh("Authorization", "a", rules, INVENTORY) + text, **query).allowed

    assert not is_allowed("route"), "no request has the route's value"
    assert not is_allowed("one"), "only a part of them has that of one backend"


def test_a_service_sees_the_headers_that_the_route_leaves() -> None:
    changes = "{set: [{name: x-a, value: set}], add: [{name: x-b, value: 50%}], remove: [x-c]}"
    modifier = f"filters: [{{type: RequestHeaderModifier, requestHeaderModifier: {changes}}}]"
    route = SHOP.partition("  - name: stock")[0] + f"  - {modifier}\n    backendRefs: [{{name: inventory}}]\n"

    def is_allowed(header: str) -> bool:
        rules = f"rules: [{{to: [{{headers: [{header}]}}]}}]"
        query = {"service": "", "gateway": "ingress", "host": "shop.example.com"}
        sent = (("X-A", "sent"), ("x-c", "sent"))
        return check(mesh("Authorization", "a", rules, INVENTORY) + route, headers=sent, **query).allowed

    assert is_allowed("{name: x-a, value: set}")
    assert is_allowed("{name: x-b, value: 50%}")
    assert not is_allowed("{name: x-a, value: sent}")
    assert not is_allowed("{name: x-c, value: sent}")


def test_a_call_has_either_a_gateway_or_a_service() -> None:
    for query in ({"service": ""}, {"gateway": "ingress"}):
        with pytest.raises(InputError, match="name what is called"):
            check(**query)
    with pytest.raises(NotFoundError, match="no such gateway"):
        check(service="", gateway="nowhere")
    with pytest.raises(InputError, match="no HTTP listener 'x': they are http"):
        check(SHOP, service="", gateway="ingress", port="x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SHOP, {"ingress": "allowed"}),
        (SHOP + EDGE, {"ingress": "partly"}),
        (POLICY + SHOP, {"ingress": "partly"}),
        (SHOP + mesh("Authorization", "none", "rules: [{action: deny}]", "{kind: HTTPRoute, name: shop}"),
         {"ingress": "denied"}),
        (SHOP + mesh("Authorization", "none", "default: deny"), {"ingress": "denied"}),
    ],
)  # fmt: skip
def test_the_matrix_has_what_clients_may_do(text: str, expected: dict[str, str]) -> None:
    rows = {row.service: row for row in access.matrix(translate(exchange(text))).services}
    assert rows["inventory"].clients == expected
    assert rows["catalog"].clients == {}
