"""CORS, RequestLimits and Compression: validation, and what they leave on routes."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from meshwright.control_plane.core import preflights
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies import byte_size, filter_chain
from meshwright.control_plane.policies.base import TargetedSpec
from meshwright.control_plane.policies.compression.envoy import PLACE as COMPRESSION
from meshwright.control_plane.policies.compression.envoy import CompressionHooks
from meshwright.control_plane.policies.compression.spec import CompressionSpec
from meshwright.control_plane.policies.cors.envoy import CORSHooks
from meshwright.control_plane.policies.cors.spec import CORSSpec
from meshwright.control_plane.policies.httproute import mirrored
from meshwright.control_plane.policies.httproute.envoy_cors import NAME as CORS
from meshwright.control_plane.policies.requestlimits.envoy import PLACE as BODY
from meshwright.control_plane.policies.requestlimits.envoy import RequestLimitsHooks
from meshwright.control_plane.policies.requestlimits.spec import RequestLimitsSpec

TARGET = {"targetRefs": [{"kind": "Gateway", "name": "ingress"}]}


def forwarding() -> v3.Route:
    return v3.Route(match=v3.RouteMatch(prefix="/"), route=v3.RouteAction(cluster="back"))


def filters(route: v3.Route, place: str) -> list[dict[str, Any]]:
    """The configurations of the filters that a route brings along."""
    config = v3.FilterChainConfigPerRoute()
    assert route.typed_per_filter_config[place].Unpack(config)
    return [entry["typed_config"] for entry in codec.to_dict(config)["filter_chain"]["filters"]]


@pytest.mark.parametrize(
    ("spec", "fields", "message"),
    [
        (CORSSpec, {}, "allowOrigins is empty"),
        (CORSSpec, {"allowOrigins": ["example.com"]}, "should match pattern"),
        (RequestLimitsSpec, {}, "Field required"),
        (RequestLimitsSpec, {"maxBody": "1MB"}, "not a size: write it like 4096, 512Ki"),
        (RequestLimitsSpec, {"maxBody": True}, "not a size"),
        (RequestLimitsSpec, {"maxBody": 0}, "greater than or equal to 1"),
        (RequestLimitsSpec, {"maxBody": "1Ki", "maxBodyWithoutLength": "2Ki"}, "larger than maxBody"),
        (RequestLimitsSpec, {"maxBody": "1Gi", "maxBodyWithoutLength": "1Gi"}, "less than or equal to"),
        (RequestLimitsSpec, {"maxBody": "1Mi", "from": ["orders"]}, "whoever calls"),
        (CompressionSpec, {"algorithms": ["br", "br"]}, "occurs twice"),
        (CompressionSpec, {"algorithms": ["deflate"]}, "'br', 'zstd' or 'gzip'"),
        (CompressionSpec, {"contentTypes": ["json"]}, "should match pattern"),
    ],
)
def test_mistakes_are_refused(spec: type[TargetedSpec], fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec.model_validate(TARGET | fields)


@pytest.mark.parametrize("text", ["1", "1023", "1Ki", "1500Ki", "10Mi", "3Gi"])
def test_a_size_is_rendered_as_it_is_written(text: str) -> None:
    assert byte_size.render(byte_size.parse(text)) == text


def test_a_cors_filter_of_the_rule_wins() -> None:
    hooks = CORSHooks(CORSSpec.model_validate(TARGET | {"allowOrigins": ["https://a.example"]}))
    (route,) = hooks.patch_route(forwarding())
    policy = v3.CorsPolicy()
    assert route.typed_per_filter_config[CORS].Unpack(policy)
    assert policy.allow_origin_string_match[0].exact == "https://a.example"
    other = CORSHooks(CORSSpec.model_validate(TARGET | {"allowOrigins": ["https://b.example"]}))
    assert other.patch_route(route) == [route]
    assert route.typed_per_filter_config[CORS].value == policy.SerializeToString()


def test_preflights_of_a_route_for_a_method_or_headers_have_a_route_of_their_own() -> None:
    origins = {"allowOrigins": ["https://a.example", "https://*.b.example"]}
    hooks = CORSHooks(CORSSpec.model_validate(TARGET | origins))
    put = v3.HeaderMatcher(name=":method", string_match=v3.StringMatcher(exact="PUT"))
    kind = v3.HeaderMatcher(name="x-kind", string_match=v3.StringMatcher(exact="a"))
    match = v3.RouteMatch(path="/p", headers=[put, kind])
    match.runtime_fraction.default_value.numerator = 50
    patched = hooks.patch_route(v3.Route(match=match, route=v3.RouteAction(cluster="back")))
    (route,) = preflights.routes(match, patched)
    matched = codec.to_dict(route.match)
    assert matched == {
        "path": "/p",
        "headers": [
            {"name": ":method", "string_match": {"exact": "OPTIONS"}},
            {"name": "access-control-request-method", "string_match": {"exact": "PUT"}},
            {
                "name": "origin",
                "string_match": {"safe_regex": {"regex": r"https://a\.example|https://[^/:]+\.b\.example"}},
            },
        ],
    }
    assert not list(preflights.routes(v3.RouteMatch(path="/p"), patched)), "it takes OPTIONS itself"
    refusals = [v3.Route(direct_response=v3.DirectResponseAction(status=413))]
    assert not list(preflights.routes(match, [forwarding(), *refusals])), "no CORS"
    grpc = v3.RouteMatch(path="/p", grpc=v3.RouteMatch.GrpcRouteMatchOptions())
    (route,) = preflights.routes(grpc, patched)
    assert not route.match.HasField("grpc")
    assert route.match.headers[1].present_match


def test_declared_lengths_are_checked_by_a_route_and_only_others_are_buffered() -> None:
    spec = RequestLimitsSpec.model_validate(TARGET | {"maxBody": "8Mi"})
    assert spec.buffered == 2**20, "by default no more than 1 MiB is held in memory"
    route = forwarding()
    filter_chain.add(route, "earlier", "check", v3.Buffer())
    refusal, buffered, plain = RequestLimitsHooks(spec, "RequestLimits/p").patch_gateway_route(route)
    (declared,) = refusal.match.headers
    assert (declared.name, declared.range_match.start) == ("content-length", 2**23 + 1)
    assert refusal.direct_response.status == 413
    assert "earlier" in refusal.typed_per_filter_config, "who is refused anyway learns no limit"
    (buffer,) = filters(buffered, BODY)
    assert buffer["max_request_bytes"] == 2**20
    assert BODY not in plain.typed_per_filter_config
    assert mirrored.restored(refusal).direct_response.status == 413


def test_redirects_are_not_limited() -> None:
    redirect = v3.Route(redirect=v3.RedirectAction(path_redirect="/new"))
    hooks = RequestLimitsHooks(RequestLimitsSpec.model_validate(TARGET | {"maxBody": 1}), "RequestLimits/p")
    assert hooks.patch_gateway_route(redirect) == [redirect]


def test_each_algorithm_is_a_filter_and_the_first_is_preferred() -> None:
    spec = CompressionSpec.model_validate(TARGET | {"contentTypes": ["application/json"]})
    (route,) = CompressionHooks(spec, "Compression/p").patch_gateway_route(forwarding())
    configs = filters(route, COMPRESSION)
    assert [config["compressor_library"]["name"] for config in configs] == ["br", "zstd", "gzip"]
    assert [config.get("choose_first", False) for config in configs] == [True, False, False]
    exempt = CompressionHooks(CompressionSpec.model_validate(TARGET | {"algorithms": []}), "Compression/q")
    assert COMPRESSION not in exempt.patch_gateway_route(forwarding())[0].typed_per_filter_config
    common = configs[0]["response_direction_config"]["common_config"]
    assert common == {"min_content_length": 1024, "content_type": ["application/json"]}
