"""HTTPRoute and Gateway: the Gateway API's defaults and validation."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from meshwright.control_plane.policies import re2
from meshwright.control_plane.policies.field_types import HOP_BY_HOP
from meshwright.control_plane.policies.gateway.spec import GatewaySpec
from meshwright.control_plane.policies.grpcroute.spec import GRPCRouteSpec
from meshwright.control_plane.policies.httproute.filters import HTTPRequestMirrorFilter
from meshwright.control_plane.policies.httproute.spec import (
    HTTPRouteRetry,
    HTTPRouteRule,
    HTTPRouteSpec,
    HTTPRouteTimeouts,
)
from meshwright.control_plane.policies.retry.spec import RetrySpec
from meshwright.control_plane.policies.timeout.spec import TimeoutSpec
from meshwright.sidecar.bootstrap.document import MAX_REGEX_PROGRAM_SIZE

PARENT = {"kind": "Service", "name": "a"}
REDIRECT = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}
REWRITE = {"type": "URLRewrite", "urlRewrite": {"hostname": "b.example"}}
PREFIX = {
    "type": "URLRewrite",
    "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"}},
}


def headers(**change: Any) -> dict[str, Any]:
    return {"type": "RequestHeaderModifier", "requestHeaderModifier": change}


def cors(**change: Any) -> dict[str, Any]:
    return {"type": "CORS", "cors": change}


def match(**parts: Any) -> dict[str, Any]:
    return {"matches": [parts]}


def test_defaults_are_those_of_the_gateway_api() -> None:
    spec = HTTPRouteSpec.model_validate({"parentRefs": [{"name": "ingress"}]})
    assert spec.parent_refs[0].kind == "Gateway"
    (rule,) = spec.rules
    (only,) = rule.matches
    assert (only.path.type, only.path.value, only.method) == ("PathPrefix", "/", None)
    rule = HTTPRouteRule.model_validate({"matches": [], "backendRefs": [{"name": "a"}]})
    assert rule.matches == (only,)
    assert (rule.backend_refs[0].kind, rule.backend_refs[0].weight) == ("Service", 1)


GOOD = [
    {"filters": [cors(allowOrigins=["https://*.a.b:8443", "http://c.d"], allowMethods=["*"], maxAge=60)]},
    {"backendRefs": [{"name": "a", "filters": [PREFIX, cors(allowOrigins=["*"])]}]},
    {"backendRefs": [{"name": "a", "filters": [REDIRECT]}, {"name": "b", "weight": 0}]},
    match(path={"type": "Exact", "value": "/a/b%20c;v=1"}, method="PATCH"),
    match(path={"type": "RegularExpression", "value": "/a/[0-9]+(/.*)?"}),
    match(headers=[{"name": "x", "type": "RegularExpression", "value": "a|b"}]),
    match(headers=[{"name": "x", "type": "RegularExpression", "value": r"\p{Greek}+\z"}]),
    match(headers=[{"name": "x", "type": "RegularExpression", "value": "(?P<n>[[:alpha:]])(?i:b)"}]),
    match(queryParams=[{"name": "q", "value": "1"}]),
    {"filters": [REDIRECT]},
    {"filters": [headers(set=[{"name": "a", "value": "100%"}], remove=["b"])]},
    {"backendRefs": [{"name": "a", "weight": 0}, {"name": "b", "port": 9090}]},
    {"matches": [{"path": {"value": "/a"}}], "filters": [PREFIX]},
    {"filters": [{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "b"}}}] * 2},
    {"backendRefs": [{"group": "meshwright.io", "kind": "Subset", "name": "v2", "namespace": ""}]},
    {"timeouts": {"request": "0s", "backendRequest": "5s"}},
    {"retry": {"codes": [503], "attempts": 0, "backoff": "10ms"}},
]  # fmt: skip


@pytest.mark.parametrize("rule", GOOD)
def test_valid_rule_is_accepted(rule: dict[str, Any]) -> None:
    hash(HTTPRouteSpec.model_validate({"parentRefs": [PARENT], "rules": [rule]}))


BAD = [
    (match(path={"value": "a"}), "begin with a slash"),
    (match(path={"type": "Exact", "value": "/a//b"}), "can never match"),
    (match(path={"value": "/a/../b"}), "can never match"),
    (match(path={"value": "/a%2Fb"}), "can never match"),
    (match(path={"value": "/a b"}), "can never match"),
    (match(path={"value": "/a?b=1"}), "can never match"),
    (match(path={"type": "RegularExpression", "value": "("}), "not a valid regular expression"),
    (match(path={"type": "RegularExpression", "value": "(?=a)b"}), "RE2"),
    (match(path={"type": "RegularExpression", "value": "a{1001}"}), r"invalid repetition size: \{1001\}"),
    (match(path={"type": "RegularExpression", "value": "/((a{1000}){1000}){1000}"}), "invalid repetition"),
    (match(path={"type": "RegularExpression", "value": "/((x{10}){11}){10}"}), "invalid repetition"),
    (match(path={"type": "RegularExpression", "value": r"/[\b]+"}), "invalid escape sequence"),
    (match(path={"type": "RegularExpression", "value": "/" + "[a-z]{999}" * 11}), "above 10000"),
    (match(queryParams=[{"name": "q", "type": "RegularExpression", "value": r"(a)\1"}]), "invalid escape"),
    (match(headers=[{"name": "x", "type": "RegularExpression", "value": "a++"}]), "bad repetition operator"),
    (match(headers=[{"name": "x", "type": "RegularExpression", "value": "a" * 1025}]), "1025 characters"),
    (match(headers=[{"name": "A", "value": "1"}, {"name": "a", "value": "2"}]), "header 'a' occurs twice"),
    (match(queryParams=[{"name": "a", "value": "1"}] * 2), "query parameter 'a' occurs twice"),
    (match(headers=[{"name": "a b", "value": "1"}]), "pattern"),
    (match(method="get"), "GET"),
    ({"matches": [{}] * 65}, "at most 64"),
    ({"filters": [REDIRECT], "backendRefs": [{"name": "a"}]}, "RequestRedirect and backendRefs are mutually"),
    ({"filters": [REDIRECT, REWRITE]}, "RequestRedirect and URLRewrite are mutually"),
    ({"filters": [headers(set=[]), headers(set=[])]}, "filter 'RequestHeaderModifier' occurs twice"),
    ({"filters": [{"type": "URLRewrite", "requestRedirect": {}}]}, "needs exactly urlRewrite"),
    ({"filters": [{**REDIRECT, "urlRewrite": {}}]}, "needs exactly requestRedirect"),
    ({"filters": [PREFIX], **match(path={"type": "Exact", "value": "/a"})}, "exactly one match"),
    ({"filters": [PREFIX], "matches": [{}, {}]}, "exactly one match"),
    ({"filters": [headers(set=[{"name": "A", "value": "1"}], remove=["a"])]}, "header 'a' occurs twice"),
    ({"filters": [headers(set=[{"name": "Host", "value": "x"}])]}, "URLRewrite with hostname"),
    ({"backendRefs": [{"name": "a", "filters": [headers(remove=["Host"])]}]}, "'host' cannot be changed"),
    ({"filters": [headers(set=[{"name": "a", "value": "x\r\ny: z"}])]}, "pattern"),
    ({"filters": [{"type": "ExtensionRef"}]}, "RequestHeaderModifier"),
    ({"backendRefs": [{"name": "a", "filters": [PREFIX]}], "matches": [{}, {}]}, "exactly one match"),
    ({"backendRefs": [{"name": "a", "filters": [REWRITE, REDIRECT]}]}, "mutually exclusive"),
    ({"filters": [cors(allowOrigins=["*", "https://a.b"])]}, "allowOrigins has \\* and other entries"),
    ({"filters": [cors(allowMethods=["GET", "GET"])]}, "'get' occurs twice"),
    ({"filters": [cors(allowOrigins=["https://a.b/path"])]}, "pattern"),
    ({"filters": [cors(allowOrigins=["https://a.*.b"])]}, "pattern"),
    ({"filters": [cors(maxAge=0)]}, "greater than or equal to 1"),
    ({"backendRefs": [{"kind": "Subset", "name": "a"}]}, "has group meshwright.io"),
    ({"backendRefs": [{"name": "a", "weight": -1}]}, "greater than or equal to 0"),
    ({"backendRefs": [{"name": "a", "namespace": "b"}]}, "'b' is not the route's namespace"),
    ({"timeouts": {"request": "1s", "backendRequest": "2s"}}, "longer than request"),
    ({"retry": {"backoff": "0s"}}, "storm"),
    ({"retry": {"codes": [200]}}, "greater than or equal to 400"),
]  # fmt: skip


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
@pytest.mark.parametrize("change", ["set", "add", "remove"])
@pytest.mark.parametrize("side", ["request", "response"])
@pytest.mark.parametrize("place", ["rule", "backend"])
def test_header_modifier_rejects_hop_by_hop_header_in_any_case(
    name: str, change: str, side: str, place: str
) -> None:
    entry = name.title() if change == "remove" else {"name": name.title(), "value": "1"}
    field = f"{side}HeaderModifier"
    filters = {"filters": [{"type": field[0].upper() + field[1:], field: {change: [entry]}}]}
    rule = filters if place == "rule" else {"backendRefs": [{"name": "a", **filters}]}
    with pytest.raises(ValidationError, match=f"header '{name}' is hop-by-hop"):
        HTTPRouteSpec.model_validate({"parentRefs": [PARENT], "rules": [rule]})
    with pytest.raises(ValidationError, match=f"header '{name}' is hop-by-hop"):
        GRPCRouteSpec.model_validate({"parentRefs": [PARENT], "rules": [rule]})


@pytest.mark.parametrize(("rule", "message"), BAD, ids=[message for _, message in BAD])
def test_invalid_rule_is_rejected(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        HTTPRouteSpec.model_validate({"parentRefs": [PARENT], "rules": [rule]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parentRefs": [PARENT, PARENT]}, "occurs twice"),
        ({"parentRefs": [{**PARENT, "group": "gateway.networking.k8s.io"}]}, "group ''"),
        ({"hostnames": ["Example.com"]}, "pattern"),
        ({"hostnames": ["a.*.com"]}, "pattern"),
        ({"rules": [{}] * 17}, "at most 16"),
        ({"rules": [{"matches": [{}] * 64}] * 3}, "more than 128 matches"),
        ({"rules": [{"name": "x"}, {"name": "x"}]}, "rule 'x' occurs twice"),
    ],
)
def test_invalid_route_is_rejected(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        HTTPRouteSpec.model_validate({"parentRefs": [PARENT], **change})


def test_validation_and_envoy_limit_regular_expressions_alike() -> None:
    assert re2.MAX_PROGRAM_SIZE == MAX_REGEX_PROGRAM_SIZE
    for size, valid in ((9_000, True), (11_000, False)):
        path = {"type": "RegularExpression", "value": "[a-z]{1000}" * (size // 1000)}
        with nullcontext() if valid else pytest.raises(ValidationError, match="above 10000"):
            HTTPRouteRule.model_validate(match(path=path))


def test_inline_timeouts_and_retry_convert_to_policy_specs() -> None:
    timeouts = HTTPRouteTimeouts.model_validate({"request": "2s", "backendRequest": "1s"})
    assert timeouts.to_timeout_spec() == TimeoutSpec(
        request=timedelta(seconds=2), backend_request=timedelta(seconds=1)
    )
    retry = HTTPRouteRetry.model_validate({"codes": [503], "attempts": 4, "backoff": "10ms"}).to_retry_spec()
    assert retry == RetrySpec.model_validate(
        {
            "attempts": 4,
            "on": ["reset", "connect-failure", "refused-stream", 503],
            "backoff": {"base": "10ms", "max": "100ms"},
        }
    )
    assert HTTPRouteRetry().to_retry_spec().backoff == RetrySpec().backoff


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        ({}, 1.0),
        ({"percent": 0}, 0.0),
        ({"percent": 5}, 0.05),
        ({"fraction": {"numerator": 1, "denominator": 8}}, 0.125),
    ],
)
def test_mirror_share(share: dict[str, Any], expected: float) -> None:
    assert HTTPRequestMirrorFilter.model_validate({"backendRef": {"name": "b"}, **share}).share == expected


def gateway(*listeners: dict[str, Any]) -> GatewaySpec:
    return GatewaySpec.model_validate({"listeners": listeners})


HTTP = {"name": "http", "port": 8080, "protocol": "HTTP"}


def test_gateway_accepts_any_class() -> None:
    spec = GatewaySpec.model_validate({"gatewayClassName": "example.com.lb", "listeners": [HTTP]})
    assert spec.gateway_class_name == "example.com.lb"


def test_gateway_accepts_gateway_api_fields() -> None:
    selector = {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "Exists"}]}
    allowed = {"namespaces": {"from": "Selector", "selector": selector}, "kinds": [{"kind": "TLSRoute"}]}
    tls = {"mode": "Terminate", "certificateRefs": [{"name": "shop"}]}
    spec = gateway(
        {**HTTP, "allowedRoutes": allowed, "hostname": ""},
        {**HTTP, "name": "b", "hostname": "*.b.example"},
        {**HTTP, "name": "c", "protocol": "TCP"},
        {**HTTP, "name": "d", "protocol": "HTTPS", "tls": tls},
        {**HTTP, "name": "e", "protocol": "example.com/own"},
    )
    assert spec.gateway_class_name == "meshwright"
    assert [listener.hostname for listener in spec.listeners] == ["", "*.b.example", "", "", ""]
    GatewaySpec.model_validate(
        {"listeners": [HTTP], "addresses": [{"type": "IPAddress"}], "infrastructure": {"labels": {"a": "b"}}}
    )


@pytest.mark.parametrize(
    ("listeners", "message"),
    [
        ([], "at least 1"),
        ([{**HTTP, "protocol": "http"}], "did you mean HTTP"),
        ([{**HTTP, "protocol": "TCP", "hostname": "a.b"}], "a TCP listener has no hostname"),
        ([{**HTTP, "protocol": "UDP", "hostname": "a.b"}], "a UDP listener has no hostname"),
        ([{**HTTP, "tls": {}}], "an HTTP listener has no tls"),
        ([{**HTTP, "protocol": "HTTPS", "tls": {"mode": "Passthrough"}}], "HTTPS listener is Terminate"),
        ([{**HTTP, "allowedRoutes": {"namespaces": {"from": "Selector"}}}], "selector"),
        ([{**HTTP, "port": 0}], "greater than or equal to 1"),
        ([{**HTTP, "port": True}], "valid integer"),
        ([HTTP, HTTP], "'http' occurs twice"),
        ([HTTP, {**HTTP, "name": "other"}], "two HTTP listeners for every host on port 8080"),
    ],
)
def test_invalid_gateway_is_rejected(listeners: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        gateway(*listeners)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"addresses": [{"value": "10.0.0.1"}]}, "listens at the address of its node"),
        ({"tls": {"backend": {}}}, "own mutual TLS"),
        ({"infrastructure": {"parametersRef": {"name": "x"}}}, "a mesh has no parameters"),
    ],
)
def test_gateway_refuses_what_it_cannot_honour(field: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        GatewaySpec.model_validate({"listeners": [HTTP], **field})
