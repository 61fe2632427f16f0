"""GRPCRoute and TCPRoute: validation, and the form they share with HTTPRoute."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from meshwright.control_plane.policies.grpcroute.envoy import routes
from meshwright.control_plane.policies.grpcroute.matches import GRPCMethodMatch
from meshwright.control_plane.policies.grpcroute.spec import GRPCRouteRule, GRPCRouteSpec
from meshwright.control_plane.policies.tcproute.spec import TCPRouteSpec

PARENT = {"kind": "Service", "name": "analytics"}


@pytest.mark.parametrize(
    ("method", "matching", "other"),
    [
        ({"service": "a.B", "method": "Get"}, "/a.B/Get", "/a.B/Gets"),
        ({"service": "a.B"}, "/a.B/Get", "/a.Bc/Get"),
        ({"method": "Get"}, "/a.B/Get", "/a.B/c/Get"),
        ({"type": "RegularExpression", "service": "a|b"}, "/a/Get", "/ab/Get"),
        ({"type": "RegularExpression", "service": "x.*", "method": "Get|List"}, "/xy/List", "/xy/Lists"),
    ],
)
def test_to_path_match_matches_the_same_calls(method: dict[str, str], matching: str, other: str) -> None:
    path = GRPCMethodMatch.model_validate(method).to_path_match()
    if path.type == "PathPrefix":
        pattern = re.escape(path.value) + "(/.*)?"
    else:
        pattern = path.value if path.type == "RegularExpression" else re.escape(path.value)
    assert re.fullmatch(pattern, matching)
    assert not re.fullmatch(pattern, other)


def test_regular_expression_too_large_for_envoy_is_rejected() -> None:
    large = "[a-z]{1000}" * 6
    for method in ({"service": large}, {"method": large}):
        GRPCMethodMatch.model_validate({"type": "RegularExpression", **method})
    with pytest.raises(ValidationError, match="above 10000: use fewer repetitions"):
        GRPCMethodMatch.model_validate({"type": "RegularExpression", "service": large, "method": large})


def test_routes_rank_longer_service_before_longer_method() -> None:
    matches = [{"method": {"method": "AVeryLongMethod"}}, {"method": {"service": "a.B"}}, {}]
    rule = GRPCRouteRule.model_validate({"matches": matches})
    ranks = [rank for rank, _ in routes("GRPCRoute/r", rule, (), ())]
    assert sorted(ranks) == [ranks[1], ranks[0], ranks[2]]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({}, "neither service nor method"),
        ({"service": "a/b"}, "not a valid gRPC service"),
        ({"method": "1a"}, "not a valid gRPC method"),
        ({"type": "RegularExpression", "service": "("}, "regular expression"),
    ],
)
def test_invalid_method_match_is_rejected(method: dict[str, str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        GRPCMethodMatch.model_validate(method)


def test_to_http_keeps_every_field_of_the_rule() -> None:
    modifier = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x"]}}
    rule = GRPCRouteRule.model_validate(
        {
            "name": "r",
            "matches": [{"headers": [{"name": "x-user", "value": "a"}]}],
            "filters": [{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "shadow"}}}],
            "backendRefs": [{"name": "analytics", "port": 50051, "weight": 3, "filters": [modifier]}],
        }
    ).to_http()
    assert rule.name == "r"
    assert rule.matches[0].headers[0].name == "x-user"
    assert rule.filters[0].request_mirror is not None
    (backend,) = rule.backend_refs
    assert (backend.port, backend.weight) == (50051, 3)
    assert backend.filters[0].request_header_modifier is not None


@pytest.mark.parametrize(
    "rule",
    [
        {"filters": [{"type": "URLRewrite", "urlRewrite": {"hostname": "a"}}]},
        {"filters": [{"type": "RequestMirror"}]},
        {"backendRefs": [{"name": "a", "filters": [{"type": "CORS", "cors": {}}]}]},
        {"timeouts": {"request": "1s"}},
    ],
)
def test_http_only_fields_are_rejected(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GRPCRouteSpec.model_validate({"parentRefs": [PARENT], "rules": [rule]})


@pytest.mark.parametrize(
    "spec",
    [
        {"parentRefs": [PARENT], "rules": [{"backendRefs": []}]},
        {"parentRefs": [PARENT], "rules": [{"backendRefs": [{"name": "db"}]}] * 2},
        {"parentRefs": [PARENT, PARENT], "rules": [{"backendRefs": [{"name": "db"}]}]},
    ],
)
def test_tcp_route_without_backends_or_with_two_rules_is_rejected(spec: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TCPRouteSpec.model_validate(spec)
