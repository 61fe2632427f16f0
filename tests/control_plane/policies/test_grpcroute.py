"""GRPCRoute and TCPRoute: what they take, and the form they share with HTTPRoute."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from meshwright.control_plane.policies.grpcroute.matches import GRPCMethodMatch, GRPCRouteMatch
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
def test_methods_are_paths(method: dict[str, str], matching: str, other: str) -> None:
    found = GRPCMethodMatch.model_validate(method).to_path_match()
    if found.type == "PathPrefix":
        pattern = re.escape(found.value) + "(/.*)?"
    else:
        pattern = found.value if found.type == "RegularExpression" else re.escape(found.value)
    assert re.fullmatch(pattern, matching)
    assert not re.fullmatch(pattern, other)


def test_a_longer_service_comes_before_a_longer_method() -> None:
    matches = [{"method": {"method": "AVeryLongMethod"}}, {"method": {"service": "a.B"}}, {}]
    ranks = [GRPCRouteMatch.model_validate(one).rank for one in matches]
    assert sorted(ranks) == [ranks[1], ranks[0], ranks[2]]


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ({}, "neither service nor method"),
        ({"service": "a/b"}, "no name of a gRPC service"),
        ({"method": "1a"}, "no name of a gRPC method"),
        ({"type": "RegularExpression", "service": "("}, "regular expression"),
    ],
)
def test_impossible_methods_are_refused(method: dict[str, str], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        GRPCMethodMatch.model_validate(method)


def test_a_rule_keeps_all_it_says_in_the_shared_form() -> None:
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
        {"backendRefs": [{"name": "a", "filters": [{"type": "RequestMirror"}]}]},
        {"timeouts": {"request": "1s"}},
    ],
)
def test_what_belongs_to_http_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        GRPCRouteSpec.model_validate({"parentRefs": [PARENT], "rules": [rule]})


@pytest.mark.parametrize(
    "spec",
    [
        {
            "parentRefs": [{"kind": "Gateway", "name": "ingress"}],
            "rules": [{"backendRefs": [{"name": "db"}]}],
        },
        {"parentRefs": [PARENT], "rules": [{"backendRefs": []}]},
        {"parentRefs": [PARENT], "rules": [{"backendRefs": [{"name": "db"}]}] * 2},
        {"parentRefs": [PARENT, PARENT], "rules": [{"backendRefs": [{"name": "db"}]}]},
    ],
)
def test_a_tcp_route_has_a_service_and_one_rule(spec: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TCPRouteSpec.model_validate(spec)
