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
    ],
)
def test_invalid_spec_is_rejected(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        HeaderPolicySpec.model_validate(TARGET | spec)
