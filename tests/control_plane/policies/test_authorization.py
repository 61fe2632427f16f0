"""Authorization: validation, how rules add up, what they match, and where they are configured."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core import gateway, inbound
from meshwright.control_plane.core.resource import Resource
from meshwright.control_plane.core.translate import Translation, translate
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.authorization.envoy import ALLOW, DENY
from meshwright.control_plane.policies.authorization.spec import AuthorizationSpec
from meshwright.control_plane.policies.authorization.verdict import AccessDecision, Call, decide
from tests.control_plane.core.worlds import TCP, body, exchange, mesh, route, service

SERVICE = {"kind": "Service", "name": "inventory"}
MESH = {"kind": "Mesh"}
ORDERS = Identity("mesh.local", "service", "orders")
DENY_ADMIN = {"action": "deny", "to": [{"paths": [{"value": "/admin"}]}]}
FROM_ORDERS = {"from": [{"services": ["orders"]}]}


def spec(*rules: dict[str, Any], target: dict[str, Any] = SERVICE, **fields: Any) -> AuthorizationSpec:
    return AuthorizationSpec.model_validate({"targetRefs": [target], "rules": rules, **fields})


def rule(to: dict[str, Any], action: str = "allow") -> AuthorizationSpec:
    return spec({"action": action, "to": [to]})


def verdict(*specs: AuthorizationSpec, **call: Any) -> AccessDecision:
    return decide([(f"Authorization/p{index}", item) for index, item in enumerate(specs)], Call(**call))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "no rules"),
        ({"rules": [{}], "from": ["orders"]}, r"use rules\[\].from"),
        ({"rules": [{}], "targetRefs": [{"kind": "TCPRoute", "name": "db"}]}, "TCPRoute is no target"),
        ({"rules": [{}], "default": "deny"}, "policy of the Mesh"),
        ({"rules": [{"name": "a"}, {"name": "a"}]}, "twice"),
        ({"rules": [{"name": "1"}, {}]}, "twice"),
        ({"rules": [{"from": [{}]}]}, "nothing is set"),
        ({"rules": [{"to": [{}]}]}, "nothing is set"),
        ({"rules": [{"from": [{"services": ["Orders"]}]}]}, "services"),
        ({"rules": [{"from": [{"addresses": ["10.0.0.1/8"]}]}]}, "not an address or network"),
        ({"rules": [{"from": [{"claims": [{"name": "role"}]}]}]}, "values"),
        ({"rules": [{"to": [{"methods": ["get"]}]}]}, "methods"),
        ({"rules": [{"to": [{"hosts": ["10.0.0.1"]}]}]}, "is an address"),
        ({"rules": [{"to": [{"headers": [{"name": ":path", "value": "x"}]}]}]}, "name"),
        ({"rules": [{"to": [{"headers": [{"name": "Host", "value": "x"}]}]}]}, "use hosts"),
        ({"rules": [{"to": [{"headers": [{"name": "te", "value": "x"}]}]}]}, "hop-by-hop"),
        ({"rules": [{"to": [{"paths": [{"value": "admin"}]}]}]}, "begin with a slash"),
        ({"rules": [{"to": [{"paths": [{"value": "/a//b"}]}]}]}, "can never match"),
        ({"rules": [{"to": [{"paths": [{"value": "/a;b"}]}]}]}, "not a valid path"),
        ({"rules": [{"to": [{"paths": [{"value": "/%61"}]}]}]}, "can never match"),
        ({"rules": [{"to": [{"ports": ["5432"]}]}]}, "port '5432' is a number"),
        ({"rules": [{"to": [{"notPorts": ["http", "80"]}]}]}, "port '80' is a number"),
        ({"rules": [{"to": [{"paths": [{"value": "/**/a", "type": "Template"}]}]}]}, "last one"),
        ({"rules": [{"to": [{"paths": [{"value": "/a{b}", "type": "Template"}]}]}]}, "a segment is"),
    ],
)
def test_invalid_spec_is_rejected_with_the_reason(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AuthorizationSpec.model_validate({"targetRefs": [SERVICE], **fields})


def test_default_on_trial_is_rejected() -> None:
    with pytest.raises(ValidationError, match="on trial"):
        spec(target=MESH, default="deny", enforcement="audit")


@pytest.mark.parametrize(
    ("target", "rules", "message"),
    [
        ({"kind": "Gateway", "name": "ingress"}, [FROM_ORDERS], "use claims or addresses"),
        ({"kind": "HTTPRoute", "name": "r"}, [{"to": [{"ports": ["http"]}]}], "sectionName"),
        (SERVICE, [FROM_ORDERS], ""),
    ],
)
def test_rule_that_cannot_match_at_its_target_is_reported(
    target: dict[str, Any], rules: list[dict[str, Any]], message: str
) -> None:
    attached = spec(*rules, target=target)
    assert message in attached.inapplicable_reason(attached.target_refs[0])


def test_deny_wins_and_an_allow_rule_refuses_the_rest() -> None:
    allow = spec({"name": "orders", **FROM_ORDERS})
    assert verdict(allow, caller=ORDERS) == AccessDecision(
        True, "allow-rule", "Authorization/p0/orders", ("Authorization/p0",)
    )
    refused = AccessDecision(False, "no-allow-rule", policies=("Authorization/p0",))
    assert verdict(allow, caller=Identity("mesh.local", "service", "billing")) == refused
    assert verdict(allow, caller=Identity("mesh.local", "gateway", "orders")) == refused
    assert verdict(allow, caller=None) == refused
    denied = AccessDecision(False, "deny-rule", "Authorization/p1/0", ("Authorization/p1",))
    assert verdict(allow, spec(DENY_ADMIN), caller=ORDERS, path="/admin/x") == denied
    assert verdict(spec(DENY_ADMIN), path="/x") == AccessDecision(True, "no-rule")


@pytest.mark.parametrize(
    ("defaults", "without_allow_rule", "no_match"),
    [
        ((), True, False),
        (("deny-once-allowed",), True, False),
        (("deny",), False, False),
        (("allow",), True, True),
        (("allow", "deny"), False, False),
        (("allow", "deny-once-allowed"), True, False),
    ],
)
def test_default_of_the_mesh_decides_where_no_rule_matches(
    defaults: tuple[str, ...], without_allow_rule: bool, no_match: bool
) -> None:
    specs = [spec(target=MESH, default=default) for default in defaults]
    assert verdict(*specs).allowed is without_allow_rule
    assert verdict(*specs, spec(FROM_ORDERS)).allowed is no_match
    assert verdict(*specs, spec(FROM_ORDERS), caller=ORDERS).allowed


def test_rules_on_trial_refuse_nothing_and_are_reported() -> None:
    audit_rule = spec({**DENY_ADMIN, "action": "audit"})
    trial = spec({"name": "o", **FROM_ORDERS}, {"name": "admin", **DENY_ADMIN}, enforcement="audit")
    assert verdict(audit_rule, path="/admin") == AccessDecision(
        True, "no-rule", audited=("Authorization/p0/0",)
    )
    assert verdict(trial, path="/ADMIN").audited == ("Authorization/p0/admin", "no-allow-rule")
    assert verdict(trial, path="/x", caller=ORDERS).audited == ()
    assert verdict(trial, path="//x").allowed, "paths are not refused for rules on trial"
    assert verdict(trial, spec({})).audited == (), "allow rules in force let it through"


@pytest.mark.parametrize(
    ("to", "call", "narrow", "broad"),
    [
        ({"paths": [{"value": "/a"}]}, {"path": "/a/b"}, True, True),
        ({"paths": [{"value": "/a"}]}, {"path": "/ab"}, False, False),
        ({"paths": [{"value": "/a"}]}, {"path": "/A/b"}, False, True),
        ({"paths": [{"value": "/a", "type": "Exact"}]}, {"path": "/a"}, True, True),
        ({"paths": [{"value": "/a", "type": "Exact"}]}, {"path": "/a/"}, False, True),
        ({"paths": [{"value": "/a", "type": "Exact"}]}, {"path": "/a/b"}, False, False),
        ({"paths": [{"value": "/"}]}, {"path": "/x"}, True, True),
        ({"paths": [{"value": "/o/{id}/x", "type": "Template"}]}, {"path": "/o/1/x"}, True, True),
        ({"paths": [{"value": "/o/{id}/x", "type": "Template"}]}, {"path": "/o/1/X/"}, False, True),
        ({"paths": [{"value": "/o/{id}", "type": "Template"}]}, {"path": "/o/1/2"}, False, False),
        ({"paths": [{"value": "/o/**", "type": "Template"}]}, {"path": "/o/1/2"}, True, True),
        ({"paths": [{"value": "/o/**", "type": "Template"}]}, {"path": "/o"}, False, False),
        ({"methods": ["DELETE"]}, {"method": "delete"}, False, True),
        ({"hosts": ["orders"]}, {"host": "ORDERS.:80"}, True, True),
        ({"hosts": ["*.mesh"]}, {"host": "a.b.mesh"}, True, True),
        ({"hosts": ["*.mesh"]}, {"host": "mesh"}, False, False),
        ({"hosts": ["orders"]}, {"host": "x,orders"}, False, True),
        ({"headers": [{"name": "X-Role", "value": "admin"}]}, {"headers": [("x-role", "admin")]}, True, True),
        (
            {"headers": [{"name": "x-role", "value": "admin"}]},
            {"headers": [("x-role", "user"), ("X-Role", "admin")]},
            False,
            True,
        ),
        ({"headers": [{"name": "x", "value": "a|b", "type": "RegularExpression"}]}, {}, False, False),
        ({"grpc": [{"service": "shop.Orders"}]}, {"path": "/shop.Orders/Get"}, True, True),
        ({"grpc": [{"service": "shop.Orders", "method": "Get"}]}, {"path": "/shop.Orders/Put"}, False, False),
        ({"ports": ["admin"]}, {}, False, False),
        ({"ports": ["http"]}, {"protocol": "tcp"}, True, True),
        ({"ports": ["http"], "methods": ["GET"]}, {"protocol": "tcp"}, False, False),
        ({"notPaths": [{"value": "/open"}]}, {"path": "/x"}, True, True),
        ({"notPaths": [{"value": "/open"}]}, {"path": "/OPEN"}, False, True),
        ({"notMethods": ["GET"]}, {"method": "get"}, False, True),
        ({"notHosts": ["orders"], "notPorts": ["admin"]}, {"host": "Orders"}, False, False),
    ],
)
def test_allow_rule_matches_narrowly_and_deny_rule_broadly(
    to: dict[str, Any], call: dict[str, Any], narrow: bool, broad: bool
) -> None:
    assert verdict(rule(to), **call).allowed is narrow
    assert verdict(rule(to, "deny"), **call).allowed is not broad


@pytest.mark.parametrize(
    "path",
    ["//admin", "/a/../admin", "/%61dmin", "/a%2fadmin", "/admin;x", "/a\\admin", "/%2561dmin", "/admin%00"],
)
def test_path_that_apps_may_read_in_two_ways_is_refused_where_rules_decide_by_path(path: str) -> None:
    by_path, by_host = rule({"paths": [{"value": "/"}]}), rule({"notHosts": ["x"]})
    assert verdict(by_path, path=path).reason == "ambiguous-path"
    assert verdict(by_host, path=path).allowed


def test_method_override_is_refused_where_rules_decide_by_method() -> None:
    headers = [("X-HTTP-Method-Override", "DELETE")]
    assert verdict(rule({"methods": ["GET"]}), headers=headers).reason == "method-override"
    assert verdict(rule({"notHosts": ["x"]}), headers=headers).allowed


@pytest.mark.parametrize(
    ("claim", "token", "matches"),
    [
        ({"name": "role", "values": ["admin"]}, {"role": "admin"}, True),
        ({"name": "role", "values": ["admin"]}, {"role": ["user", "admin"]}, True),
        ({"name": "role", "values": ["admin"]}, {"role": "administrator"}, False),
        ({"name": "realm.role", "values": ["a", "b"]}, {"realm": {"role": "b"}}, True),
        ({"name": "scope", "values": ["read"]}, {"scope": "write read"}, True),
        ({"name": "name", "values": ["read"]}, {"name": "write read"}, False),
        ({"name": "staff", "values": ["true"]}, {"staff": True}, True),
        ({"name": "level", "values": ["1"]}, {"level": 1}, False),
        ({"name": "sub", "values": ["a"], "issuer": "https://b"}, {"iss": "https://a", "sub": "a"}, False),
    ],
)
def test_claims_of_verified_tokens_match(claim: dict[str, Any], token: dict[str, Any], matches: bool) -> None:
    allow = spec({"from": [{"claims": [claim]}]})
    assert verdict(allow, tokens=[token]).allowed is matches
    assert not verdict(allow).allowed


# --- where they are configured ------------------------------------------------------------------------


def inbound_routes(translation: Translation, service: str) -> list[v3.Route]:
    resource = inbound.routes(translation.snapshot.nodes[service])[0]
    message: v3.RouteConfiguration = body(resource)
    return list(message.virtual_hosts[0].routes)


def gateway_routes(translation: Translation) -> list[v3.Route]:
    (resource,) = gateway.route_configurations(translation.snapshot.gateways["ingress"], {})
    message: v3.RouteConfiguration = body(resource)
    return [entry for host in message.virtual_hosts for entry in host.routes if entry.HasField("route")]


def test_mesh_and_service_are_enforced_at_sidecars_and_gateway_and_route_at_gateways() -> None:
    shop = route("shop", "{backendRefs: [{name: inventory}]}", "{name: ingress}")

    def configured(target: str) -> tuple[bool, bool, bool]:
        policy = mesh("Authorization", "a", "rules: [{}]", target)
        world = translate(exchange(shop + policy))
        every = [*map(inbound_routes, [world] * 2, ["inventory", "orders"]), gateway_routes(world)]
        return tuple(all(ALLOW in entry.typed_per_filter_config for entry in routes) for routes in every)  # type: ignore[return-value]

    assert configured("{kind: Mesh}") == (True, True, False)
    assert configured("{kind: Service, name: inventory}") == (True, False, False)
    assert configured("{kind: Gateway, name: ingress}") == (False, False, True)
    assert configured("{kind: Gateway, name: ingress, sectionName: http}") == (False, False, True)
    assert configured("{kind: HTTPRoute, name: shop}") == (False, False, True)
    assert configured("{kind: Service, name: inventory}, {kind: HTTPRoute, name: other}") == (
        True,
        False,
        False,
    )


def test_policies_of_one_place_are_one_configuration_whatever_their_order() -> None:
    deny = mesh("Authorization", "z", "rules: [{action: deny, from: [{services: [x]}]}]")
    allow = mesh(
        "Authorization", "a", "rules: [{from: [{services: [orders]}]}]", "{kind: Service, name: inventory}"
    )
    (first, *_), (second, *_) = (
        inbound_routes(translate(exchange(text)), "inventory") for text in (deny + allow, allow + deny)
    )
    assert first == second
    assert set(first.typed_per_filter_config) == {ALLOW, DENY}
    (other, *_) = inbound_routes(translate(exchange(deny + allow)), "orders")
    assert set(other.typed_per_filter_config) == {DENY}


def connection_rules(resources: tuple[Resource, ...]) -> dict[str, list[str]]:
    """The names of the rules of each filter of connections."""
    configs = {resource.name: body(resource) for resource in resources if resource.name.startswith("auth")}
    rules = {}
    for name, config in configs.items():
        network = v3.NetworkRBAC()
        config.typed_config.Unpack(network)
        rules[name] = sorted(network.rules.policies) if network.HasField("rules") else ["inert"]
    return rules


def test_connections_of_tcp_ports_and_listeners_have_the_rules_that_can_match_them() -> None:
    listener = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: meshwright
  listeners: [{name: db, port: 5432, protocol: TCP}]
"""
    rules = (
        "rules: [{from: [{services: [orders]}]}, {from: [{addresses: [10.0.0.0/8]}]}, "
        "{action: deny, to: [{methods: [GET]}]}, {action: deny, to: [{ports: [tcp]}]}]"
    )
    targets = "{kind: Service, name: ledger}, {kind: Gateway, name: edge}"
    ledger = service("ledger", ports=(TCP,))
    for text, expected in (("", ["inert"]), (mesh("Authorization", "a", rules, targets), None)):
        snapshot = translate(exchange(listener + text, ledger)).snapshot
        inside = connection_rules(inbound.filters(snapshot.nodes["ledger"]))
        edge = connection_rules(gateway.filters(snapshot.gateways["edge"]))
        every = ["Authorization/a/0", "Authorization/a/1"]
        assert inside == {f"{DENY}/tcp": expected or ["Authorization/a/3"], f"{ALLOW}/tcp": expected or every}
        assert edge == {f"{DENY}/edge/db": ["inert"], f"{ALLOW}/edge/db": expected or every}
