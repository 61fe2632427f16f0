"""What a gateway listens on, which routes it accepts, and the virtual hosts of its listeners."""

from __future__ import annotations

from typing import Any

import pytest

from meshwright.control_plane.core import gateway
from meshwright.control_plane.core.translate import translate
from tests.control_plane.core.worlds import body, exchange, route

INGRESS = "{kind: Gateway, name: ingress}"


def ingress(text: str) -> list[Any]:
    view = translate(exchange(text)).snapshot.gateways["ingress"]
    return [body(configuration) for configuration in gateway.route_configurations(view, {"http": 8080})]


def test_gateway_has_one_listener_per_port_and_one_virtual_host_per_name() -> None:
    text = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: ingress}
spec:
  listeners:
    - {name: wide, port: 8080, protocol: HTTP}
    - {name: http, port: 8080, protocol: HTTP, hostname: "*.example.com"}
    - {name: other, port: 9090, protocol: HTTP}
"""
    text += route(
        "r", "{backendRefs: [{name: orders}]}", INGRESS, 'hostnames: [a.example.com, "*.com", b.org],'
    )
    text += route("s", "{backendRefs: [{name: catalog}]}", "{name: ingress, sectionName: other}")
    values = ingress(text)
    assert [item.name for item in values] == ["ingress", "ingress/other"]
    assert forwarded(values[0]) == {
        "*": [], "*.com": ["orders"], "*.example.com": ["orders"], "a.example.com": ["orders"],
        "b.org": ["orders"],
    }  # fmt: skip
    assert forwarded(values[1]) == {
        "*": ["catalog"], "*.com": ["orders", "catalog"], "a.example.com": ["orders", "catalog"],
        "b.org": ["orders", "catalog"],
    }  # fmt: skip


def test_route_with_a_parent_twice_is_added_once() -> None:
    parents = f"{INGRESS}, {{name: ingress, sectionName: http}}"
    (result,) = ingress(route("r", "{backendRefs: [{name: orders}]}", parents))
    assert forwarded(result) == {"*": ["orders"]}


SELECTOR = "namespaces: {{from: Selector, selector: {}}}"

LISTENERS = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: ingress}
spec: {listeners: [LISTENERS]}
"""
WIDE = "{name: wide, port: 80, protocol: HTTP}"
NARROW = '{name: narrow, port: 80, protocol: HTTP, hostname: "*.example.com"}'
EXACT = "{name: exact, port: 80, protocol: HTTP, hostname: a.example.com}"


def served_by(text: str, port: int = 80) -> dict[str, list[str]]:
    """The clusters of each domain's routes, of the first route configuration."""
    view = translate(exchange(text)).snapshot.gateways["ingress"]
    (first, *_) = [body(item) for item in gateway.route_configurations(view, {"http": port})]
    return {domain: clusters for domain, clusters in forwarded(first).items() if clusters or domain != "*"}


def forwarded(configuration: Any) -> dict[str, list[str]]:
    """The clusters by domain, without the routes that refuse invalid authorities."""
    return {
        domain: [entry.route.cluster for entry in virtual_host.routes if entry.HasField("route")]
        for virtual_host in configuration.virtual_hosts
        for domain in virtual_host.domains
    }


def to(service: str, section: str, hostnames: str = "", name: str = "") -> str:
    parent = f"{{name: ingress, sectionName: {section}}}" if section else "{name: ingress}"
    more = f"hostnames: [{hostnames}]," if hostnames else ""
    return route(
        name or f"{service}-{section or 'all'}", f"{{backendRefs: [{{name: {service}}}]}}", parent, more
    )


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        (
            to("orders", "wide", "x.example.com"),
            {"*.example.com": [], "a.example.com": []},
        ),
        (
            to("orders", "wide", '"*.com", a.example.com'),
            {"*.com": ["orders"], "*.example.com": [], "a.example.com": []},
        ),
        (
            to("orders", "") + to("catalog", "narrow") + to("inventory", "exact"),
            {
                "*": ["orders"],
                "*.example.com": ["catalog", "orders"],
                "a.example.com": ["inventory", "orders"],
            },
        ),
        (
            to("catalog", "narrow", "a.example.com, b.example.com, c.org"),
            {"*.example.com": [], "a.example.com": [], "b.example.com": ["catalog"]},
        ),
    ],
)
def test_request_belongs_to_the_listener_with_the_most_specific_hostname(
    routes: str, expected: dict[str, list[str]]
) -> None:
    text = LISTENERS.replace("LISTENERS]", f"{WIDE}, {NARROW}, {EXACT}]")
    assert served_by(text + routes) == expected


def test_rules_of_every_route_whose_hostname_covers_a_host_match_the_most_specific_hostname_first() -> None:
    text = (
        to("orders", "")
        + to("catalog", "", '"*.example.com"')
        + route("exact", EXACT_PATHS, "{name: ingress}", "hostnames: [a.example.com],")
    )
    assert served_by(text) == {
        "*": ["orders"],
        "*.example.com": ["catalog", "orders"],
        "a.example.com": ["inventory", "inventory", "catalog", "orders"],
    }


EXACT_PATHS = (
    "{matches: [{path: {type: Exact, value: /a}}], backendRefs: [{name: inventory}]},"
    "{matches: [{path: {value: /b}}], backendRefs: [{name: inventory}]}"
)


@pytest.mark.parametrize(("port", "expected"), [(80, ["orders"]), (81, ["catalog"]), (82, [])])
def test_parent_port_of_a_gateway_without_a_document_is_the_one_that_its_node_binds(
    port: int, expected: list[str]
) -> None:
    text = to("orders", "").replace("{name: ingress}", "{name: ingress, port: 80}")
    text += to("catalog", "").replace("{name: ingress}", "{name: ingress, port: 81}")
    assert served_by(text, port).get("*", []) == expected


@pytest.mark.parametrize(
    ("allowed", "accepted"),
    [
        ("kinds: [{kind: HTTPRoute}]", True),
        ("kinds: [{kind: HTTPRoute, group: gateway.networking.k8s.io}]", True),
        ("kinds: [{kind: GRPCRoute}]", False),
        ("kinds: [{kind: HTTPRoute, group: example.com}]", False),
        ("namespaces: {from: All}", True),
        ("namespaces: {from: Same}", True),
        ("namespaces: {from: None}", False),
        (SELECTOR.format("{}"), True),
        (
            SELECTOR.format("{matchLabels: {kubernetes.io/metadata.name: default}}"),
            True,
        ),
        (
            SELECTOR.format("{matchLabels: {kubernetes.io/metadata.name: other}}"),
            False,
        ),
        (SELECTOR.format("{matchLabels: {team: shop}}"), False),
        (
            SELECTOR.format("{matchExpressions: [{key: team, operator: DoesNotExist}]}"),
            True,
        ),
        (
            SELECTOR.format("{matchExpressions: [{key: team, operator: In, values: [a]}]}"),
            False,
        ),
    ],
)
def test_listener_serves_only_the_routes_that_it_allows(allowed: str, accepted: bool) -> None:
    listener = f"{{name: http, port: 80, protocol: HTTP, allowedRoutes: {{{allowed}}}}}"
    routes = served_by(LISTENERS.replace("LISTENERS", listener) + to("orders", ""))
    assert routes == ({"*": ["orders"]} if accepted else {})


@pytest.mark.parametrize(
    ("listeners", "expected"),
    [
        ("{name: a, port: 80, protocol: HTTP}, {name: b, port: 443, protocol: HTTPS}", ["ingress/a"]),
        ("{name: a, port: 80, protocol: HTTP}, {name: b, port: 80, protocol: TCP}", []),
        (
            "{name: a, port: 80, protocol: TCP}, {name: b, port: 81, protocol: TCP}",
            ["ingress/a", "ingress/b"],
        ),
        ("{name: a, port: 80, protocol: UDP}, {name: b, port: 80, protocol: HTTP}", ["ingress/b"]),
        ("{name: a, port: 80, protocol: example.com/own}", []),
    ],
)
def test_gateway_opens_the_listeners_that_it_supports(listeners: str, expected: list[str]) -> None:
    view = translate(exchange(LISTENERS.replace("LISTENERS", listeners))).snapshot.gateways["ingress"]
    assert [item.name for item in gateway.listeners(view, "127.0.0.1", {})] == expected
