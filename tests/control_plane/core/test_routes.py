"""HTTPRoutes → Envoy's routes, and the virtual hosts of gateways."""

from __future__ import annotations

import re
from typing import Any

import pytest

from meshwright.control_plane.core import gateway
from meshwright.control_plane.core.resource import VHDS
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.httproute.envoy_filters import apply_rewrite, redirect_action
from meshwright.control_plane.policies.httproute.filters import HTTPRequestRedirectFilter, HTTPRouteFilter
from meshwright.control_plane.policies.httproute.matches import HTTPPathMatch
from tests.control_plane.core.worlds import body, exchange, route, subset

INGRESS = "{kind: Gateway, name: ingress}"


def host(text: str, name: str = "inventory") -> Any:
    """The virtual host, without its last route, that of CONNECT."""
    actual_body = body(translate(exchange(text)).snapshot.shared[VHDS, f"out/{name}"])
    assert actual_body.routes.pop().match.HasField("connect_matcher")
    return actual_body


def ingress(text: str) -> list[Any]:
    view = translate(exchange(text)).snapshot.gateways["ingress"]
    return [body(route_configuration) for route_configuration in gateway.route_configurations(view)]


def test_routes_most_specific_match_first() -> None:
    names = ["rest", "headers", "method", "longer", "prefix", "regex", "exact"]
    matches = [
        "{}",
        "{headers: [{name: a, value: b}]}",
        "{method: GET}",
        "{path: {value: /a/b}}",
        "{path: {value: /a}}",
        "{path: {type: RegularExpression, value: /x.*}}",
        "{path: {type: Exact, value: /a}}",
    ]
    rules = ", ".join(
        f"{{name: {name}, matches: [{match}], backendRefs: [{{name: {to}}}]}}"
        for name, match, to in zip(
            names,
            matches,
            ["catalog", "orders", "inventory", "catalog", "orders", "inventory", "catalog"],
            strict=True,
        )
    )
    values = [
        current_route.match.path
        or current_route.match.safe_regex.regex
        or current_route.match.path_separated_prefix
        or ",".join(header.name for header in current_route.match.headers)
        or "rest"
        for current_route in host(route("r", rules)).routes
    ]
    assert values == ["/a", "/x.*", "/a/b", "/a", ":method", "a", "rest"]


def test_routes_trailing_slash_does_not_lengthen_a_prefix() -> None:
    rules = "{matches: [{path: {value: /a/}}], backendRefs: [{name: catalog}]}, "
    rules += "{matches: [{path: {value: /a}, method: GET}], backendRefs: [{name: orders}]}"
    assert [current_route.route.cluster for current_route in host(route("r", rules)).routes] == [
        "orders",
        "catalog",
    ]


def test_service_with_a_route_has_no_default_route() -> None:
    rules = "{matches: [{path: {value: /a}}], backendRefs: [{name: inventory}]}"
    assert [
        current_route.match.path_separated_prefix for current_route in host(route("r", rules)).routes
    ] == ["/a"]


@pytest.mark.parametrize(
    ("refs", "expected"),
    [
        ("{name: inventory, weight: 0}", 500),
        ("{name: nobody}", 500),
        ("{name: inventory, weight: 0}, {name: catalog}", "catalog"),
        ("{name: orders, port: 9090}", "orders:grpc"),
        ("{name: orders, port: 80}", "orders"),
        ("{name: orders, port: 1234}", 500),
        ("{name: inventory, weight: 9}, {name: nobody}", {"inventory": 9, "/blackhole": 1}),
        (
            "{name: inventory, weight: 9}, {group: meshwright.io, kind: Subset, name: inventory-v2}",
            {"inventory": 9, "inventory/inventory-v2": 1},
        ),
    ],
)
def test_backend_refs_resolve_to_clusters_or_500(refs: str, expected: object) -> None:
    actual_route = host(route("r", f"{{backendRefs: [{refs}]}}") + subset("inventory-v2")).routes[0]
    weights = {
        cluster.name: cluster.weight.value for cluster in actual_route.route.weighted_clusters.clusters
    }
    assert (actual_route.direct_response.status or actual_route.route.cluster or weights) == expected


def test_required_clusters_exclude_backends_of_weight_zero() -> None:
    rule = "{backendRefs: [{name: inventory, weight: 0}, {name: catalog}]}"
    resource = translate(exchange(route("r", rule))).snapshot.shared[VHDS, "out/inventory"]
    assert resource.required_clusters == ("catalog",)


def prefix(value: str) -> HTTPPathMatch:
    return HTTPPathMatch(type="PathPrefix", value=value)


@pytest.mark.parametrize(
    ("match", "value", "path", "expected"),
    [  # the table of HTTPPathModifier in Gateway API v1
        ("/foo", "/xyz", "/foo/bar", "/xyz/bar"),
        ("/foo", "/xyz/", "/foo/bar", "/xyz/bar"),
        ("/foo/", "/xyz", "/foo/bar", "/xyz/bar"),
        ("/foo/", "/xyz/", "/foo/bar", "/xyz/bar"),
        ("/foo", "/xyz", "/foo", "/xyz"),
        ("/foo/", "/xyz", "/foo/", "/xyz/"),
        ("/foo", "", "/foo/bar", "/bar"),
        ("/foo/", "", "/foo/bar", "/bar"),
        ("/foo", "", "/foo", "/"),
        ("/foo", "/", "/foo/", "/"),
        ("/foo", "/", "/foo", "/"),
        ("/", "/new", "/abc", "/new/abc"),
        ("/a.b", r"/x\1", "/a.b/c", r"/x\1/c"),
    ],
)
def test_rewrite_replaces_the_prefix(match: str, value: str, path: str, expected: str) -> None:
    change = {"type": "ReplacePrefixMatch", "replacePrefixMatch": value}
    url_rewrite = HTTPRouteFilter.model_validate({"type": "URLRewrite", "urlRewrite": {"path": change}})
    action = v3.RouteAction()
    apply_rewrite([url_rewrite], prefix(match), action)
    rewrite = action.regex_rewrite
    assert re.sub(rewrite.pattern.regex, rewrite.substitution, path) == expected


@pytest.mark.parametrize(
    ("values", "port"), [({}, 0), ({"scheme": "https"}, 443), ({"scheme": "https", "port": 8443}, 8443)]
)
def test_redirect_port_defaults_to_the_schemes(values: dict[str, object], port: int) -> None:
    assert (
        redirect_action(HTTPRequestRedirectFilter.model_validate(values), prefix("/")).port_redirect == port
    )


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
    domains = [
        [domain for virtual_host in item.virtual_hosts for domain in virtual_host.domains] for item in values
    ]
    assert domains[0] == ["*.com", "*.example.com", "a.example.com", "b.org"]
    assert domains[1] == ["*", "*.com", "a.example.com", "b.org"]
    assert [len(current_virtual_host.routes) for current_virtual_host in values[0].virtual_hosts] == [
        1,
        1,
        1,
        1,
    ]


def test_route_with_a_parent_twice_is_added_once() -> None:
    parents = f"{INGRESS}, {{name: ingress, sectionName: http}}"
    (result,) = ingress(route("r", "{backendRefs: [{name: orders}]}", parents))
    assert len(result.virtual_hosts[0].routes) == 1
