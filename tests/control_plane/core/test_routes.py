"""HTTPRoutes → Envoy's routes."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest

from meshwright.control_plane.core import ambiguous_path
from meshwright.control_plane.core.resource import VHDS
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.httproute.envoy_filters import Scheme, apply_rewrite, redirect_action
from meshwright.control_plane.policies.httproute.filters import HTTPRequestRedirectFilter, HTTPRouteFilter
from meshwright.control_plane.policies.httproute.matches import HTTPPathMatch
from tests.control_plane.core.worlds import body, exchange, route, subset

SUBSET = "group: meshwright.io, kind: Subset"


def host(text: str, name: str = "inventory") -> Any:
    """The virtual host, without its last route, that of CONNECT, and the one for ambiguous paths."""
    actual_body = body(translate(exchange(text)).snapshot.shared[VHDS, f"out/{name}"])
    assert actual_body.routes.pop().match.HasField("connect_matcher")
    if actual_body.routes[0].name == ambiguous_path.ROUTE:
        del actual_body.routes[0]
    return actual_body


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


FORWARDED = "{name: inventory, weight: 6}"
REWRITTEN = (
    "{name: catalog, weight: 3, filters: [{type: URLRewrite, urlRewrite: {hostname: a.b}},"
    " {type: RequestMirror, requestMirror: {backendRef: {name: orders}}}]}"
)
REDIRECTED = (
    "{name: catalog, weight: 2, filters: [{type: RequestRedirect, requestRedirect: {hostname: c.d}}]}"
)


@pytest.mark.parametrize(
    ("refs", "expected"),
    [
        ([FORWARDED, "{name: nobody, weight: 2}"], [("500", 250_000), ("inventory", 0)]),
        (["{name: nobody, weight: 1}", "{name: none, weight: 2}"], [("500", 0)]),
        ([FORWARDED, REWRITTEN], [("catalog as a.b to orders", 333_333), ("inventory", 0)]),
        (
            ["{name: nobody, weight: 1}", FORWARDED, REDIRECTED, REWRITTEN],
            [("500", 83_333), ("to c.d", 250_000), ("catalog as a.b to orders", 500_000), ("inventory", 0)],
        ),
        ([REWRITTEN], [("catalog as a.b to orders", 0)]),
    ],
)
def test_shares_that_differ_in_more_than_the_cluster_have_routes_of_their_own(
    refs: list[str], expected: list[tuple[str, int]]
) -> None:
    def action(entry: Any) -> str:
        mirrors = [mirror.cluster for mirror in entry.route.request_mirror_policies]
        rewritten = f"{entry.route.cluster} as {entry.route.host_rewrite_literal} to {', '.join(mirrors)}"
        forwarded = rewritten if mirrors else entry.route.cluster
        redirected = f"to {entry.redirect.host_redirect}" if entry.HasField("redirect") else forwarded
        return str(entry.direct_response.status) if entry.HasField("direct_response") else redirected

    routes = host(route("r", f"{{backendRefs: [{', '.join(refs)}]}}")).routes
    actions = [(action(entry), entry.match.runtime_fraction.default_value.numerator) for entry in routes]
    assert actions == expected


@pytest.mark.parametrize("modified", [False, True])
def test_a_backends_header_changes_follow_those_of_its_rule(modified: bool) -> None:
    """Of several clusters Envoy makes the changes of the chosen one before those of the route."""
    changes = "{{type: RequestHeaderModifier, requestHeaderModifier: {{set: [{{name: x-a, value: {}}}]}}}}"
    backend = f"{{name: inventory, filters: [{changes.format('backend')}]}}"
    filters = f"filters: [{changes.format('rule')}], " if modified else ""
    built = host(route("r", f"{{{filters}backendRefs: [{backend}, {{name: catalog}}]}}")).routes
    taken = [item for item in built if item.HasField("route") and not item.match.HasField("connect_matcher")]
    clusters = [item.route.cluster or len(item.route.weighted_clusters.clusters) for item in taken]
    values = [[option.header.value for option in item.request_headers_to_add] for item in taken]
    expected = ["inventory", "catalog"] if modified else [2]
    assert (clusters, values) == (expected, [["rule", "backend"], ["rule"]] if modified else [[]])


@pytest.mark.parametrize(
    ("ref", "reason"),
    [
        ("{name: nobody}", "there is no Service nobody yet"),
        ("{name: orders, port: 1234}", "Service orders has no port 1234: it has http (80), grpc (9090)"),
        (f"{{{SUBSET}, name: none}}", "there is no Subset none yet"),
        (
            f"{{{SUBSET}, name: inventory-v2, port: 81}}",
            "Subset inventory-v2 has no port 81: it has http (80)",
        ),
        (f"{{{SUBSET}, name: lost}}", "there is no Service nobody of Subset lost yet"),
        ("{name: orders, weight: 0}", "every backend has weight 0"),
        ("", "no backendRefs"),
    ],
)
def test_response_without_a_backend_says_what_is_wrong_with_it(ref: str, reason: str) -> None:
    text = route("r", f"{{backendRefs: [{ref}]}}") + subset("inventory-v2") + subset("lost", "nobody")
    body = host(text).routes[0].direct_response.body.inline_string
    assert body == f"HTTPRoute/r: no backend to send to: {reason}\n"


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
    ("values", "listener", "port"),
    [
        ({}, 8080, 0),
        ({"scheme": "https"}, 8080, 443),
        ({"scheme": "https", "port": 8443}, 8080, 8443),
        ({"hostname": "a.b"}, 8080, 8080),
        ({"hostname": "a.b"}, 80, 0),
        ({"hostname": "a.b"}, 0, 0),
        ({"hostname": "a.b", "scheme": "http"}, 8080, 0),
        ({"hostname": "a.b", "scheme": "https"}, 8080, 0),
        ({"hostname": "a.b", "port": 80}, 8080, 80),
        ({"path": {"type": "ReplaceFullPath", "replaceFullPath": "/x"}}, 8080, 0),
        ({"hostname": "a.b"}, ("https", 8443), 8443),
        ({"hostname": "a.b"}, ("https", 443), 0),
        ({"hostname": "a.b"}, ("https", 80), 80),
        ({"hostname": "a.b", "scheme": "http"}, ("https", 8443), 0),
    ],
)
def test_redirect_port_is_the_schemes_or_the_listeners(
    values: dict[str, object], listener: int | tuple[Scheme, int], port: int
) -> None:
    redirect = HTTPRequestRedirectFilter.model_validate(values)
    place: tuple[Scheme, int] = ("http", listener) if isinstance(listener, int) else listener
    assert redirect_action(redirect, prefix("/"), place).port_redirect == port


def test_only_a_timeout_ends_a_silent_stream_once_its_host_is_known() -> None:
    """The outbound listener's own idle timeout limits the wait for a host."""
    rules = "{matches: [{path: {value: /a}}], backendRefs: [{name: orders}, {name: catalog}]}, "
    rules += "{timeouts: {request: 1s}, backendRefs: [{name: inventory}]}"
    for routes in (host(route("r", rules)).routes, host("").routes):
        forwarding = [item.route for item in routes if item.HasField("route")]
        assert forwarding
        assert all(action.HasField("idle_timeout") for action in forwarding)
        assert {action.idle_timeout.ToTimedelta() for action in forwarding} == {timedelta(0)}
