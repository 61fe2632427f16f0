"""HeaderPolicy: validation, and the header mutation filter's configuration."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.field_types import HOP_BY_HOP
from meshwright.control_plane.policies.headerpolicy.envoy import NAME, HeaderPolicyHooks
from meshwright.control_plane.policies.headerpolicy.spec import HeaderPolicySpec
from meshwright.control_plane.policies.hooks import FilterPhase

TARGET = {"targetRefs": [{"kind": "Service", "name": "inventory"}]}


PRINCIPAL = {"name": "X-Caller", "variable": "source.principal"}


def header(name: str, value: str = "1") -> dict[str, str]:
    return {"name": name, "value": value}


def mutations(**spec: Any) -> dict[str, Any]:
    """The filter configuration that a spec leaves on a route."""
    hooks = HeaderPolicyHooks(HeaderPolicySpec.model_validate(TARGET | spec))
    (route,) = hooks.patch_route(v3.Route())
    config = v3.HeaderMutationPerRoute()
    assert route.typed_per_filter_config[NAME].Unpack(config)
    plain: dict[str, Any] = codec.to_dict(config)["mutations"]
    return plain


def test_patch_route_sets_adds_and_removes_on_both_sides() -> None:
    config = mutations(
        request={"set": [header("x-a", "50%")], "remove": ["x-b"]}, response={"add": [header("x-c")]}
    )
    assert config == {
        "request_mutations": [
            {"remove": "x-b"},
            {
                "append": {
                    "header": {"key": "x-a", "value": "50%%"},
                    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                }
            },
        ],
        "response_mutations": [{"append": {"header": {"key": "x-c", "value": "1"}}}],
    }


def test_patch_route_omitted_side_is_unchanged() -> None:
    assert "request_mutations" not in mutations(response={"remove": ["server"]})


def test_http_filters_are_on_the_callers_side_only() -> None:
    assert HeaderPolicyHooks.http_filters("inbound") == ()
    for direction in ("outbound", "ingress"):
        ((phase, name, config),) = HeaderPolicyHooks.http_filters(direction)
        assert (phase, name, codec.to_dict(config)) == (FilterPhase.HEADERS, NAME, {})


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
@pytest.mark.parametrize("change", ["set", "add", "remove"])
def test_hop_by_hop_header_is_rejected_in_any_case(name: str, change: str) -> None:
    entry = name.title() if change == "remove" else header(name.title())
    with pytest.raises(ValidationError, match=f"header '{name}' is hop-by-hop"):
        HeaderPolicySpec.model_validate(TARGET | {"request": {change: [entry]}})


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "neither request nor response"),
        ({"request": {}}, "nothing to change"),
        ({"request": {"set": [header("Host")]}}, "use an HTTPRoute's URLRewrite with hostname"),
        ({"response": {"remove": ["host"]}}, "'host' cannot be changed"),
        ({"request": {"set": [header("a")], "remove": ["A"]}}, "header 'a' occurs twice"),
        ({"request": {"set": [header(":path")]}}, "pattern"),
        ({"response": {"add": [header("a", "x\r\ny: z")]}}, "pattern"),
        ({"request": {"replace": []}}, "Extra inputs"),
        ({"request": {"set": [{"name": "a"}]}}, "set one of value and variable"),
        ({"request": {"set": [PRINCIPAL | {"value": "b"}]}}, "set one of value and variable"),
        ({"request": {"set": [{"name": "a", "variable": "source.port"}]}}, "Input should be"),
        ({"request": {"add": [PRINCIPAL]}}, "no caller can forge it"),
        ({"response": {"set": [PRINCIPAL]}}, "no caller can forge it"),
        ({"request": {"set": [PRINCIPAL]}, "from": ["orders"]}, "leave from out"),
        ({"request": {"set": [PRINCIPAL | {"name": "x_caller"}]}}, "no underscores"),
    ],
)
def test_invalid_spec_is_rejected(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        HeaderPolicySpec.model_validate(TARGET | spec)


def test_variables_are_envoys_formats_and_the_principal_is_set_inbound_only() -> None:
    changes = {"set": [PRINCIPAL, {"name": "x-id", "variable": "request.id"}]}
    (mutation,) = mutations(request=changes)["request_mutations"]
    assert mutation["append"]["header"] == {"key": "x-id", "value": "%REQ(X-REQUEST-ID)%"}
    hooks = HeaderPolicyHooks(HeaderPolicySpec.model_validate(TARGET | {"request": changes}))
    (inbound,) = hooks.patch_inbound_route(v3.Route(route=v3.RouteAction(cluster="/app/http")))
    assert list(inbound.request_headers_to_remove) == ["x-caller", "x_caller"]
    (option,) = inbound.request_headers_to_add
    assert (option.header.key, option.header.value) == ("x-caller", "%DOWNSTREAM_PEER_URI_SAN%")


@pytest.mark.parametrize(
    ("variable", "kind", "advice"),
    [
        ("source.principal", "Gateway", "target the Service"),
        ("source.principal", "Service", ""),
        ("source.address", "Service", "target the Gateway"),
        ("source.address", "HTTPRoute", ""),
        ("request.id", "Mesh", ""),
    ],
)
def test_variable_that_a_target_does_not_know_is_inapplicable(variable: str, kind: str, advice: str) -> None:
    ref = {"kind": kind} | ({} if kind == "Mesh" else {"name": "x"})
    changes = {"set": [{"name": "x-a", "variable": variable}]}
    spec = HeaderPolicySpec.model_validate({"targetRefs": [ref], "request": changes})
    assert advice in spec.inapplicable_reason(spec.target_refs[0])
    assert bool(spec.inapplicable_reason(spec.target_refs[0])) == bool(advice)
