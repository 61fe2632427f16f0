"""Every reference of a policy that does not resolve is a condition and a warning that name its field."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshwright.control_plane.status.conditions import policy_statuses, reference_warnings
from meshwright.control_plane.status.references import BoundPort, GatewayPorts
from tests.control_plane.core.worlds import mesh, route, subset
from tests.control_plane.status.statuses import (
    CONNECTED,
    GATEWAY,
    INGRESS,
    LISTENER,
    ORDERS,
    SHOP,
    by_type,
    grpc_route,
    status,
    tcp_route,
    warnings,
    world,
)

UNATTACHED = [
    (
        route("x", ORDERS, f"{{{INGRESS}, sectionName: htttp}}"),
        "NoMatchingParent",
        "parentRefs[0].sectionName",
    ),
    (route("x", ORDERS, f"{{{INGRESS}, port: 81}}"), "NoMatchingParent", "parentRefs[0].port"),
    (
        route("x", ORDERS, f"{{{INGRESS}, sectionName: http, port: 81}}"),
        "NoMatchingParent",
        "parentRefs[0].port",
    ),
    (route("x", ORDERS, "{name: ingres}"), "NoMatchingParent", "parentRefs[0].name"),
    (route("x", ORDERS, "{kind: Service, name: order}"), "NoMatchingParent", "parentRefs[0].name"),
    (
        route("x", ORDERS, "{kind: Service, name: orders, port: 9999}"),
        "NoMatchingParent",
        "parentRefs[0].port",
    ),
    (
        route("x", ORDERS, "{kind: Service, name: orders, sectionName: web}"),
        "NoMatchingParent",
        "parentRefs[0].sectionName",
    ),
    (route("x", ORDERS, "{kind: Service, name: ledger}"), "NoMatchingParent", "parentRefs[0].name"),
    (tcp_route(ORDERS, "{kind: Service, name: orders}"), "NoMatchingParent", "parentRefs[0].name"),
    (route("x", ORDERS, ""), "NoMatchingParent", "parentRefs"),
    (
        SHOP + route("x", ORDERS, f"{{{INGRESS}}}", "hostnames: [shop.test, a.example],"),
        "NoMatchingListenerHostname",
        "hostnames",
    ),
    (
        GATEWAY % f"{{{LISTENER}, allowedRoutes: {{kinds: [{{kind: GRPCRoute}}]}}}}"
        + route("x", ORDERS, f"{{{INGRESS}}}"),
        "NotAllowedByListeners",
        "parentRefs[0]",
    ),
    (
        GATEWAY % f"{{{LISTENER}, allowedRoutes: {{namespaces: {{from: None}}}}}}"
        + route("x", ORDERS, f"{{{INGRESS}}}"),
        "NotAllowedByListeners",
        "parentRefs[0]",
    ),
    (tcp_route(ORDERS, f"{{{INGRESS}}}"), "NotAllowedByListeners", "parentRefs[0]"),
    (
        GATEWAY % "{name: http, port: 443, protocol: TLS}" + route("x", ORDERS, f"{{{INGRESS}}}"),
        "NotAllowedByListeners",
        "parentRefs[0]",
    ),
]


@pytest.mark.parametrize(("text", "reason", "field"), UNATTACHED)
def test_route_that_attaches_nowhere_is_not_accepted(text: str, reason: str, field: str) -> None:
    result = status(text)
    condition = by_type(result.conditions)["Accepted"]
    assert (condition.status, condition.reason) == ("False", reason)
    assert condition.message.startswith(f"spec.{field}: ")
    assert result.state == ("target-not-found" if reason == "NoMatchingParent" else "no-effect")
    assert [by_type(parent.conditions)["Accepted"].reason for parent in result.parents] in ([reason], [])
    assert any(condition.message in warning for warning in warnings(text))


@pytest.mark.parametrize(
    ("text", "gateways"),
    [
        (route("x", ORDERS, f"{{{INGRESS}, sectionName: http, port: 8080}}"), CONNECTED),
        (route("x", ORDERS, f"{{{INGRESS}, port: 81}}"), {}),
        (route("x", ORDERS, "{name: inner, port: 9000}"), CONNECTED),
        (route("x", ORDERS, "{kind: Service, name: orders, port: 9090}"), CONNECTED),
        (route("x", ORDERS, "{kind: Service, name: orders, sectionName: grpc}"), CONNECTED),
        (SHOP + route("x", ORDERS, f"{{{INGRESS}}}", "hostnames: [a.shop.test, a.example],"), CONNECTED),
        (
            GATEWAY % f"{{{LISTENER}}}, {{name: db, port: 5432, protocol: TCP}}"
            + tcp_route("{backendRefs: [{name: ledger}]}", f"{{{INGRESS}}}"),
            CONNECTED,
        ),
        (tcp_route("{backendRefs: [{name: ledger}]}", "{kind: Service, name: ledger}"), CONNECTED),
    ],
)
def test_route_that_attaches_is_accepted_without_a_warning(text: str, gateways: GatewayPorts) -> None:
    result = status(text, gateways=gateways)
    for conditions in (result.conditions, *(parent.conditions for parent in result.parents)):
        assert {c.type: (c.status, c.reason) for c in conditions if c.type != "Programmed"} == {
            "Accepted": ("True", "Accepted"),
            "ResolvedRefs": ("True", "ResolvedRefs"),
        }
    assert warnings(text, gateways) == []


def test_gateway_without_a_document_is_unknown_once_only_others_are_connected() -> None:
    text = route("x", ORDERS, f"{{{INGRESS}}}")
    accepted = [
        by_type(status(text, gateways=gateways).conditions)["Accepted"].status
        for gateways in ({}, CONNECTED, {"inner": {"http": BoundPort(9000)}})
    ]
    assert accepted == ["True", "True", "False"]


def test_route_accepted_by_one_of_two_parents_names_the_other_one() -> None:
    result = status(route("x", ORDERS, f"{{{INGRESS}}}, {{{INGRESS}, sectionName: htttp}}"))
    conditions = by_type(result.conditions)
    assert conditions["Accepted"].status == "True"
    assert (conditions["ResolvedRefs"].status, conditions["ResolvedRefs"].reason) == (
        "False",
        "NoMatchingParent",
    )
    assert conditions["ResolvedRefs"].message.startswith("spec.parentRefs[1].sectionName: ")
    assert [by_type(parent.conditions)["Accepted"].status for parent in result.parents] == ["True", "False"]
    assert result.state == "partial"


MIRROR = "{type: RequestMirror, requestMirror: {backendRef: {name: orders, port: 1}}}"
ANSWERED = "its share is answered with 500"
UNRESOLVED = [
    (
        route("x", "{backendRefs: [{name: order}]}"),
        "BackendNotFound",
        "rules[0].backendRefs[0].name",
        "(did you mean orders?): its share is answered with 500",
    ),
    (
        route("x", f"{ORDERS}, {{backendRefs: [{{name: catalog}}, {{name: orders, port: 9999}}]}}"),
        "BackendNotFound",
        "rules[1].backendRefs[1].port",
        ANSWERED,
    ),
    (
        route("x", "{backendRefs: [{name: orders}, {name: nobody, weight: 0}]}"),
        "BackendNotFound",
        "rules[0].backendRefs[1].name",
        "weight is 0",
    ),
    (
        route("x", "{backendRefs: [{name: ledger, port: 5432}]}"),
        "UnsupportedProtocol",
        "rules[0].backendRefs[0].port",
        ANSWERED,
    ),
    (
        route("x", "{backendRefs: [{group: meshwright.io, kind: Subset, name: orders-v3}]}")
        + subset("orders-v2"),
        "BackendNotFound",
        "rules[0].backendRefs[0].name",
        "did you mean orders-v2?",
    ),
    (
        route("x", "{backendRefs: [{group: meshwright.io, kind: Subset, name: v2, port: 9}]}") + subset("v2"),
        "BackendNotFound",
        "rules[0].backendRefs[0].port",
        ANSWERED,
    ),
    (
        route("x", f"{{filters: [{MIRROR}], backendRefs: [{{name: orders}}]}}"),
        "BackendNotFound",
        "rules[0].filters[0].requestMirror.backendRef.port",
        "no copies are sent",
    ),
    (
        route("x", f"{{backendRefs: [{{name: orders, filters: [{MIRROR}]}}]}}"),
        "BackendNotFound",
        "rules[0].backendRefs[0].filters[0].requestMirror.backendRef.port",
        "no copies are sent",
    ),
    (
        grpc_route("{backendRefs: [{name: orders, port: 1}]}", "{kind: Service, name: orders}"),
        "BackendNotFound",
        "rules[0].backendRefs[0].port",
        "UNAVAILABLE",
    ),
    (
        tcp_route("{backendRefs: [{name: ledger, port: 4444}]}", "{kind: Service, name: ledger}"),
        "BackendNotFound",
        "rules[0].backendRefs[0].port",
        "its share of the connections is closed",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason", "field", "consequence"), UNRESOLVED)
def test_route_with_an_unresolved_backend_is_accepted_and_says_what_happens(
    text: str, reason: str, field: str, consequence: str
) -> None:
    result = status(text)
    for conditions in (by_type(result.conditions), by_type(result.parents[0].conditions)):
        assert conditions["Accepted"].status == "True"
        assert (conditions["ResolvedRefs"].status, conditions["ResolvedRefs"].reason) == ("False", reason)
        assert conditions["ResolvedRefs"].message.startswith(f"spec.{field}: ")
        assert consequence in conditions["ResolvedRefs"].message
    assert result.state == "partial"
    (warning,) = warnings(text)
    assert result.reason in warning


CATALOG = "{kind: Service, name: catalog}"


def authorizer(where: str) -> str:
    """An ExternalAuthorization of catalog."""
    return mesh("ExternalAuthorization", "x", where, CATALOG)


NAMED_RULE = route("r", "{name: first, backendRefs: [{name: orders}]}")


@pytest.mark.parametrize(
    ("text", "kind", "field"),
    [
        (
            mesh("Timeout", "x", "request: 1s", "{kind: Service, name: nobody}"),
            "Accepted",
            "targetRefs[0].name",
        ),
        (
            mesh("Timeout", "x", "request: 1s", f"{CATALOG}, {{kind: Service, name: nobody}}"),
            "ResolvedRefs",
            "targetRefs[1].name",
        ),
        (
            NAMED_RULE
            + mesh("Timeout", "x", "request: 1s", "{kind: HTTPRoute, name: r, sectionName: frist}"),
            "Accepted",
            "targetRefs[0].sectionName",
        ),
        (mesh("Timeout", "x", "request: 1s, from: [order]", CATALOG), "Accepted", "from[0]"),
        (mesh("Timeout", "x", "request: 1s, from: [orders, nobody]", CATALOG), "ResolvedRefs", "from[1]"),
        (subset("x", "nobody"), "Accepted", "service"),
        (authorizer("http: {url: 'http://cataloq/check'}"), "ResolvedRefs", "http.url"),
        (authorizer("grpc: {url: 'http://catalog:1'}"), "ResolvedRefs", "grpc.url"),
        (
            mesh(
                "JWTAuthentication",
                "x",
                "issuers: [{issuer: i, jwks: {url: 'http://nobody.mesh/keys'}}]",
                CATALOG,
            ),
            "ResolvedRefs",
            "issuers[0].jwks.url",
        ),
    ],
)
def test_policy_whose_target_does_not_exist_says_which_part_has_no_effect(
    text: str, kind: str, field: str
) -> None:
    result = status(text)
    conditions = by_type(result.conditions)
    assert conditions[kind].status == "False"
    assert conditions[kind].message.startswith(f"spec.{field}: ")
    assert conditions["Accepted"].status == ("False" if kind == "Accepted" else "True")
    assert [conditions[kind].message in warning for warning in warnings(text)] == [True]


def test_external_service_that_takes_the_name_of_a_service_is_reported() -> None:
    text = (
        "---\napiVersion: meshwright.io/v1\nkind: ExternalService\nmetadata: {name: x}\n"
        "spec: {hosts: [db.internal, orders.internal], ports: [{port: 80, protocol: http}]}\n"
    )
    assert not warnings(text)
    current = replace(world(text), domains=("mesh", "internal"))
    (warning,) = reference_warnings(current, current.documents, CONNECTED)
    assert "spec.hosts[1]: orders.internal is Service orders by MESH_DOMAINS" in warning
    (result,) = policy_statuses(current, {}, CONNECTED)
    assert by_type(result.conditions)["ResolvedRefs"].reason == "HostConflict"


def test_url_names_a_service_by_every_domain_of_the_mesh() -> None:
    def problems(url: str) -> list[str]:
        current = world(authorizer(f"http: {{url: '{url}'}}"))
        current = replace(current, domains=("mesh", "internal", "service.consul"))
        return reference_warnings(current, current.documents, CONNECTED)

    assert not problems("http://orders.internal/a")
    assert not problems("http://orders.service.consul:80/a")
    assert not problems("https://id.internal/a")
    (unknown,) = problems("http://order.internal/a")
    assert "there is no Service order yet (did you mean orders?)" in unknown
    (outside,) = problems("http://orders.example/a")
    assert "orders.example is outside the mesh and needs https://" in outside
    assert "http://NAME.mesh or http://NAME.internal or http://NAME.service.consul" in outside
    (encrypted,) = problems("https://orders.internal/a")
    assert "encrypts by itself: write http://" in encrypted


@pytest.mark.parametrize("url", ["http://orders/a", "http://orders.mesh:80/a", "https://id.example.com/a"])
def test_url_that_leads_to_a_service_or_out_of_the_mesh_is_no_problem(url: str) -> None:
    text = authorizer(f"http: {{url: '{url}'}}")
    assert warnings(text) == []
    assert "ResolvedRefs" not in by_type(status(text).conditions)
