"""The policies of a service and of an edge: which apply, which are overridden, and by which."""

from __future__ import annotations

from meshwright.control_plane.api.models.policies import AttachedPolicy, PolicyStatus, ServicePolicies
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.status.service_policies import service_policies
from tests.control_plane.core.worlds import exchange, mesh, route, subset

INVENTORY = "{kind: Service, name: inventory}"
RETRY_MESH = mesh("Retry", "mesh", "attempts: 1")
RETRY_INVENTORY = mesh("Retry", "inventory", "attempts: 2", INVENTORY)
RETRY_ROUTE = mesh("Retry", "route", "attempts: 3", "{kind: HTTPRoute, name: r}")
ROUTE = route("r", "{backendRefs: [{name: inventory}]}")
FROM_GATEWAY = route("in", "{backendRefs: [{name: inventory}]}", "{name: ingress}")


def policies(text: str, name: str = "inventory", caller: str = "") -> ServicePolicies:
    result = service_policies(translate(exchange(text)), name, caller, ())
    assert result is not None
    return result


def summary(result: ServicePolicies) -> list[tuple[str, str, str]]:
    """`Kind/name`, level and what overrides each policy, in order."""
    return [(f"{p.kind}/{p.name}", p.level, p.overridden_by) for p in result.policies]


def test_the_most_specific_policy_is_in_force_and_named_by_the_one_it_overrides() -> None:
    result = policies(RETRY_MESH + RETRY_INVENTORY)
    assert summary(result) == [("Retry/inventory", "service", ""), ("Retry/mesh", "mesh", "Retry/inventory")]
    assert [policy.in_force for policy in result.policies] == [True, False]
    assert [policy.target for policy in result.policies] == ["Service/inventory", "Mesh"]


def test_a_mesh_wide_policy_is_in_force_where_nothing_overrides_it() -> None:
    assert summary(policies(RETRY_MESH + RETRY_INVENTORY, "catalog")) == [("Retry/mesh", "mesh", "")]


def test_policies_of_a_kind_that_combines_all_apply() -> None:
    text = mesh("MutualTLS", "mesh", "mode: Permissive") + mesh(
        "MutualTLS", "inventory", "mode: Strict", INVENTORY
    )
    assert summary(policies(text)) == [("MutualTLS/inventory", "service", ""), ("MutualTLS/mesh", "mesh", "")]


def test_a_policy_on_every_route_overrides_that_of_the_service() -> None:
    result = policies(RETRY_INVENTORY + RETRY_ROUTE + ROUTE)
    assert summary(result) == [
        ("HTTPRoute/r", "route", ""),
        ("Retry/route", "route", ""),
        ("Retry/inventory", "service", "Retry/route"),
    ]


def test_a_policy_that_one_of_two_rules_overrides_is_still_in_force() -> None:
    rules = "{name: a, backendRefs: [{name: inventory}]}, {name: b, backendRefs: [{name: inventory}]}"
    one_rule = mesh("Retry", "rule", "attempts: 3", "{kind: HTTPRoute, name: r, sectionName: a}")
    result = policies(RETRY_INVENTORY + one_rule + route("r", rules))
    assert summary(result) == [
        ("Retry/rule", "rule", ""),
        ("HTTPRoute/r", "route", ""),
        ("Retry/inventory", "service", ""),
    ]
    assert (result.policies[0].target, result.policies[0].section) == ("HTTPRoute/r", "a")


def test_retries_in_a_rule_override_the_policy_of_the_service() -> None:
    inline = route("r", "{retry: {attempts: 1}, backendRefs: [{name: inventory}]}")
    assert summary(policies(RETRY_INVENTORY + inline)) == [
        ("HTTPRoute/r", "route", ""),
        ("Retry/inventory", "service", "HTTPRoute/r"),
    ]


def test_a_policy_limited_to_a_caller_applies_on_that_edge_only() -> None:
    limited = mesh("Retry", "limited", "from: [orders], attempts: 5", INVENTORY)
    text = RETRY_INVENTORY + limited
    edge = policies(text, caller="orders")
    assert (edge.from_, summary(edge)) == (
        "orders",
        [("Retry/limited", "service", ""), ("Retry/inventory", "service", "Retry/limited")],
    )
    assert summary(policies(text, caller="catalog")) == [("Retry/inventory", "service", "")]
    service = policies(text)
    assert summary(service) == [("Retry/inventory", "service", ""), ("Retry/limited", "service", "")]
    assert [policy.from_ for policy in service.policies] == [(), ("orders",)]


def test_policies_of_a_gateways_routes_apply_on_the_edge_from_it() -> None:
    on_route = mesh("Retry", "in", "attempts: 4", "{kind: HTTPRoute, name: in}")
    text = RETRY_INVENTORY + on_route + FROM_GATEWAY
    assert summary(policies(text, caller="ingress")) == [
        ("HTTPRoute/in", "route", ""),
        ("Retry/in", "route", ""),
        ("Retry/inventory", "service", "Retry/in"),
    ]
    assert summary(policies(text, caller="orders")) == [("Retry/inventory", "service", "")]
    assert ("Retry/inventory", "service", "") in summary(policies(text))


def test_policies_of_a_gateways_listener_apply_where_a_route_is_attached_to_it() -> None:
    listeners = "{name: public, port: 8081, protocol: HTTP}, {name: inside, port: 8082, protocol: HTTP}"
    gateway = f"""---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: ingress}}
spec: {{gatewayClassName: meshwright, listeners: [{listeners}]}}
"""
    spec = "require: any, issuers: [{issuer: a, jwks: {url: 'http://orders/keys'}}]"
    tokens = "".join(
        mesh("JWTAuthentication", name, spec, f"{{kind: Gateway, name: ingress, sectionName: {name}}}")
        for name in ("public", "inside")
    )
    attached = route("in", "{backendRefs: [{name: inventory}]}", "{name: ingress, sectionName: public}")
    for name, caller in (("inventory", "ingress"), ("ingress", "")):
        result = policies(gateway + tokens + attached, name, caller)
        tokens_in_force = [(p.name, p.section) for p in result.policies if p.kind == "JWTAuthentication"]
        assert tokens_in_force == [("public", "public")], name


def test_a_route_does_not_override_a_policy_of_the_cluster() -> None:
    balancer = mesh("LoadBalancer", "random", "algorithm: Random", INVENTORY)
    assert ("LoadBalancer/random", "service", "") in summary(policies(balancer + ROUTE))


def test_the_policies_of_a_gateway_include_those_of_its_routes_and_of_the_mesh() -> None:
    narrow = mesh("Telemetry", "ingress", "sampling: 5", "{kind: Gateway, name: ingress}")
    wide = mesh("Telemetry", "mesh", "sampling: 1")
    assert summary(policies(narrow + wide + FROM_GATEWAY, "ingress")) == [
        ("HTTPRoute/in", "route", ""),
        ("Telemetry/ingress", "gateway", ""),
        ("Telemetry/mesh", "mesh", "Telemetry/ingress"),
    ]


def test_subsets_and_routes_to_them_belong_to_the_service() -> None:
    to_subset = route(
        "r", "{backendRefs: [{group: meshwright.io, kind: Subset, name: new}]}", "{name: ingress}"
    )
    assert summary(policies(subset("new") + to_subset)) == [
        ("HTTPRoute/r", "route", ""),
        ("Subset/new", "service", ""),
    ]


def test_every_policy_has_the_state_of_its_status() -> None:
    statuses = (PolicyStatus(kind="Retry", name="inventory", state="rejected"),)
    result = service_policies(translate(exchange(RETRY_INVENTORY)), "inventory", "", statuses)
    assert result is not None
    assert result.policies == (
        AttachedPolicy(
            kind="Retry", name="inventory", level="service", target="Service/inventory", in_force=True,
            state="rejected",
        ),
    )  # fmt: skip


def test_an_unknown_service_has_no_policies() -> None:
    assert service_policies(translate(exchange(RETRY_MESH)), "nobody", "", ()) is None
    assert service_policies(None, "inventory", "", ()) is None
