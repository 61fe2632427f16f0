"""The status of gateways and their listeners."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshwright.control_plane.core.world import PolicyDocument
from meshwright.control_plane.status.conditions import policy_statuses
from meshwright.control_plane.status.references import BoundPort, GatewayPorts
from tests.control_plane.core.worlds import route
from tests.control_plane.status.statuses import (
    CONNECTED,
    GATEWAY,
    INGRESS,
    LISTENER,
    ORDERS,
    by_type,
    status,
    tcp_route,
    warnings,
    world,
)


def listeners(text: str, gateways: GatewayPorts = CONNECTED) -> dict[str, dict[str, tuple[str, str]]]:
    """The conditions of every listener, by type."""
    return {
        listener.name: {c.type: (c.status, c.reason) for c in listener.conditions}
        for listener in status(text, "ingress", gateways).listeners
    }


def test_listener_status_has_kinds_and_attached_routes() -> None:
    text = GATEWAY % (
        f'{{{LISTENER}}}, {{name: shop, port: 8080, protocol: HTTP, hostname: "*.shop.test"}},'
        "{name: db, port: 5432, protocol: TCP},"
        "{name: calls, port: 9090, protocol: HTTP, allowedRoutes: {kinds: [{kind: GRPCRoute}]}}"
    )
    text += route("a", ORDERS, f"{{{INGRESS}}}") + route("b", ORDERS, f"{{{INGRESS}, sectionName: http}}")
    text += route("c", ORDERS, f"{{{INGRESS}}}", "hostnames: [a.shop.test],")
    text += tcp_route(ORDERS, f"{{{INGRESS}, sectionName: db}}", "d")
    result = status(text, "ingress")
    assert {
        listener.name: (listener.supported_kinds, listener.attached_routes) for listener in result.listeners
    } == {
        "http": (("HTTPRoute", "GRPCRoute"), 2),
        "shop": (("HTTPRoute", "GRPCRoute"), 2),
        "db": (("TCPRoute",), 1),
        "calls": (("GRPCRoute",), 0),
    }


@pytest.mark.parametrize(
    ("spec", "conditions"),
    [
        (
            "{name: l, port: 80, protocol: HTTP,"
            " allowedRoutes: {kinds: [{kind: MyRoute}, {kind: HTTPRoute}]}}",
            {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("False", "InvalidRouteKinds")},
        ),
        (
            "{name: l, port: 80, protocol: HTTP, allowedRoutes: {kinds: [{kind: TCPRoute}]}}",
            {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("False", "InvalidRouteKinds")},
        ),
        (
            "{name: l, port: 443, protocol: UDP}",
            {"Accepted": ("False", "UnsupportedProtocol"), "Programmed": ("False", "Invalid")},
        ),
        (
            "{name: l, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: nowhere}]}}",
            {
                "Accepted": ("True", "Accepted"),
                "ResolvedRefs": ("False", "InvalidCertificateRef"),
                "Programmed": ("False", "Invalid"),
            },
        ),
        (
            "{name: l, port: 443, protocol: TLS, tls: {mode: Passthrough}},"
            " {name: other, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: x}]}}",
            {"Accepted": ("False", "HostnameConflict"), "Conflicted": ("True", "HostnameConflict")},
        ),
        (
            "{name: l, port: 443, protocol: TLS, tls: {mode: Passthrough}, hostname: a.test},"
            " {name: other, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: x}]}}",
            {"Accepted": ("True", "Accepted"), "Conflicted": ("False", "NoConflicts")},
        ),
        (
            "{name: l, port: 443, protocol: HTTPS}, {name: other, port: 443, protocol: HTTP}",
            {"Conflicted": ("True", "ProtocolConflict")},
        ),
        (
            "{name: l, port: 80, protocol: TCP}, {name: other, port: 80, protocol: HTTP}",
            {
                "Accepted": ("False", "ProtocolConflict"),
                "Conflicted": ("True", "ProtocolConflict"),
                "Programmed": ("False", "Invalid"),
            },
        ),
        (
            "{name: l, port: 80, protocol: HTTP}",
            {"Accepted": ("True", "Accepted"), "Conflicted": ("False", "NoConflicts")},
        ),
    ],
)
def test_listener_conditions(spec: str, conditions: dict[str, tuple[str, str]]) -> None:
    results = listeners(GATEWAY % spec)["l"]
    assert {name: results[name] for name in conditions} == conditions
    wrong = [value for value in conditions.values() if value[1] not in ("Accepted", "NoConflicts")]
    assert bool(warnings(GATEWAY % spec)) is (bool(wrong) or "certificateRefs" in spec)


def test_gateway_is_accepted_as_long_as_one_listener_is_valid() -> None:
    both = GATEWAY % f"{{{LISTENER}}}, {{name: udp, port: 443, protocol: UDP}}"
    none = GATEWAY % "{name: udp, port: 443, protocol: UDP}"
    for text, expected in ((both, "True"), (none, "False")):
        condition = by_type(status(text, "ingress").conditions)["Accepted"]
        assert (condition.status, condition.reason) == (expected, "ListenersNotValid")


def test_listener_that_listens_elsewhere_says_where() -> None:
    text = GATEWAY % "{name: http, port: 12345, protocol: HTTP}"
    (listener,) = status(text, "ingress").listeners
    assert (listener.port, listener.bound_port) == (12345, 8080)
    (warning,) = warnings(text)
    assert "spec.listeners[0].port: listener http listens on port 8080" in warning
    assert warnings(GATEWAY % f"{{{LISTENER}}}") == []
    assert warnings(text, {}) == []


def test_gateway_that_nobody_started_is_a_warning() -> None:
    text = GATEWAY.replace("ingress", "outer") % f"{{{LISTENER}}}"
    (warning,) = warnings(text)
    assert "no gateway of this name is connected" in warning
    assert warnings(text, {}) == []


# --- TCPRoutes with the same parent -----------------------------------------------------------------------


def test_tcp_route_without_effect_is_conflicted_with_the_older_one() -> None:
    rules, parent = "{backendRefs: [{name: ledger}]}", "{kind: Service, name: ledger}"
    text = GATEWAY % "{name: db, port: 5432, protocol: TCP}"
    text += tcp_route(rules, parent, "b") + tcp_route(rules, f"{parent}, {{{INGRESS}}}", "c")
    text += tcp_route(rules, f"{{{INGRESS}}}", "a")
    ages = {"b": 1, "c": 2, "a": 3}
    current = world(text)
    documents = tuple(
        PolicyDocument(document.policy, ages.get(document.policy.name, 0)) for document in current.documents
    )
    statuses = policy_statuses(replace(current, documents=documents), {}, CONNECTED)
    conflicted = {
        entry.name: by_type(entry.conditions)["Conflicted"].message
        for entry in statuses
        if "Conflicted" in by_type(entry.conditions)
    }
    assert list(conflicted) == ["a"]
    assert "TCPRoute/c" in conflicted["a"]


def test_listener_whose_port_the_operator_chose_is_in_force_and_says_where() -> None:
    text = GATEWAY % "{name: http, port: 12345, protocol: HTTP}"
    chosen = {"ingress": {"http": BoundPort(8080, "--port")}}
    assert warnings(text, chosen) == []
    conditions = by_type(status(text, "ingress", chosen).conditions)
    assert "ResolvedRefs" not in conditions
    assert conditions["Accepted"].message == "port 8080 by --port"
    (listener,) = status(text, "ingress", chosen).listeners
    assert (listener.bound_port, by_type(listener.conditions)["Accepted"].message) == (
        8080,
        "port 8080 by --port",
    )
