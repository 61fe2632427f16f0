"""gRPC in Envoy's configuration: hosts, deadlines, GRPCRoutes beside HTTPRoutes, CONNECT."""

from __future__ import annotations

from typing import Any

from meshwright.control_plane.api.models.instances import Port
from meshwright.control_plane.core.resource import VHDS
from meshwright.control_plane.core.snapshot import Snapshot
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.core.world import Service
from tests.control_plane.core.worlds import GRPC, HTTP, body, exchange, mesh, route, service

CALLED = service("analytics", ports=(Port(name="grpc", protocol="grpc", number=50051),))
PARENT = "{kind: Service, name: analytics}"


def snapshot_of(text: str = "", called: Service = CALLED) -> Snapshot:
    return translate(exchange(text, called)).snapshot


def host(text: str = "", called: Service = CALLED, name: str = "analytics") -> Any:
    return body(snapshot_of(text, called).shared[VHDS, f"out/{name}"])


def calls(name: str, rules: str, parent: str = PARENT) -> str:
    """A GRPCRoute as YAML."""
    return route(name, rules, parent).replace("HTTPRoute", "GRPCRoute")


def test_grpc_service_has_the_domains_that_libraries_send_to_a_proxy() -> None:
    numbers = ("", ":80", ":443", ":50051")
    assert set(host().domains) == {f"{name}{n}" for name in ("analytics", "analytics.mesh") for n in numbers}
    assert (VHDS, "out/analytics:443") not in snapshot_of().shared


def test_https_to_an_http_service_is_refused_with_an_explanation() -> None:
    actual_host = host(name="catalog:443")
    assert list(actual_host.domains) == ["catalog:443", "catalog.mesh:443"]
    (only,) = actual_host.routes
    assert only.match.HasField("connect_matcher")
    assert only.direct_response.status == 405
    assert "http://catalog" in only.direct_response.body.inline_string


def test_service_with_port_443_is_not_refused() -> None:
    resources = snapshot_of(called=service("web", ports=(HTTP, Port(name="tls", number=443)))).shared
    assert not body(resources[VHDS, "out/web:443"]).routes[0].HasField("direct_response")


def test_grpc_deadlines_are_enforced_and_timeouts_become_deadlines() -> None:
    action = host(mesh("Timeout", "t", "request: 2s", PARENT)).routes[0].route
    assert action.timeout.seconds == 0
    assert action.max_stream_duration.max_stream_duration.seconds == 2
    assert action.max_stream_duration.grpc_timeout_header_max.seconds == 2
    plain = host().routes[0].route.max_stream_duration
    assert plain.HasField("grpc_timeout_header_max")
    assert not plain.HasField("max_stream_duration")


def test_http_timeout_stays_a_timeout() -> None:
    action = host(mesh("Timeout", "t", "request: 2s"), name="catalog").routes[0].route
    assert action.timeout.seconds == 2
    assert not action.HasField("max_stream_duration")


def test_grpc_routes_are_ordered_by_length_of_service_then_method() -> None:
    matches = [
        "{}",
        "{method: {method: GetEverythingThereIs}}",
        "{method: {service: a.B}, headers: [{name: x, value: y}]}",
        "{method: {service: a.B}}",
        "{method: {service: a.B, method: Get}}",
    ]
    rules = ", ".join(f"{{matches: [{match}], backendRefs: [{{name: analytics}}]}}" for match in matches)
    values = [current_route.match for current_route in host(calls("r", rules)).routes[:-1]]
    names = [
        item.path or item.path_separated_prefix or item.safe_regex.regex or item.prefix for item in values
    ]
    assert names == ["/a.B/Get", "/a.B", "/a.B", "/[^/]+/(GetEverythingThereIs)", "/"]
    assert [len(item.headers) for item in values] == [0, 1, 0, 0, 0]
    assert all(item.HasField("grpc") for item in values)


def test_grpc_route_leaves_other_requests_to_an_http_port_alone() -> None:
    both = service("both", ports=(HTTP, GRPC))
    text = calls("r", "{backendRefs: [{name: both}]}", "{kind: Service, name: both}")
    first, second, _ = host(text, both, "both").routes
    assert (first.match.HasField("grpc"), first.route.cluster) == (True, "both:grpc")
    assert (second.match.HasField("grpc"), second.route.cluster) == (False, "both")
    assert len(host(text, both, "both:9090").routes) == 2


def test_grpc_route_without_backend_responds_503() -> None:
    assert host(calls("r", "{backendRefs: [{name: nobody}]}")).routes[0].direct_response.status == 503


def test_policies_attach_to_a_grpc_routes_rule() -> None:
    text = calls("r", "{name: a, backendRefs: [{name: analytics}]}")
    text += mesh("Retry", "again", "on: [internal]", "{kind: GRPCRoute, name: r, sectionName: a}")
    actual_route = host(text).routes[0]
    assert actual_route.route.retry_policy.retry_on == "internal"
    assert list(actual_route.metadata.filter_metadata["meshwright"]["policies"]) == [
        "GRPCRoute/r",
        "Retry/again",
    ]
