"""FaultInjection: validation, and the fault filter's configuration on a route."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.faultinjection.envoy import NAME, FaultInjectionHooks
from meshwright.control_plane.policies.faultinjection.spec import FaultInjectionSpec

TARGET = {"targetRefs": [{"kind": "Service", "name": "inventory"}]}


def configured(**spec: Any) -> v3.HTTPFault:
    """The filter's configuration that a spec leaves on a route."""
    hooks = FaultInjectionHooks(FaultInjectionSpec.model_validate(TARGET | spec))
    (route,) = hooks.patch_route(v3.Route())
    fault = v3.HTTPFault()
    assert route.typed_per_filter_config[NAME].Unpack(fault)
    return fault


def test_patch_route_delays_a_percentage_of_requests() -> None:
    fault = configured(delay={"fixed": "1500ms", "percent": 12.5})
    assert fault.delay.fixed_delay.ToTimedelta() == timedelta(seconds=1.5)
    assert fault.delay.percentage.numerator == 125_000
    assert fault.delay.percentage.denominator == v3.FractionalPercent.MILLION
    assert not fault.HasField("abort")


@pytest.mark.parametrize(("status", "code"), [("UNAVAILABLE", 14), ("CANCELLED", 1), ("INTERNAL", 13)])
def test_patch_route_aborts_with_a_grpc_status(status: str, code: int) -> None:
    assert configured(abort={"grpcStatus": status}).abort.grpc_status == code


def test_patch_route_matches_headers() -> None:
    regex = {"name": "X-User", "type": "RegularExpression", "value": "t-.*"}
    fault = configured(abort={"status": 503}, headers=[{"name": "x-chaos", "value": "on"}, regex])
    assert [header.name for header in fault.headers] == ["x-chaos", "x-user"]
    assert fault.headers[0].string_match.exact == "on"
    assert fault.headers[1].string_match.safe_regex.regex == "t-.*"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "neither delay nor abort"),
        ({"delay": {"fixed": "0s"}}, "no delay"),
        ({"abort": {}}, "exactly one"),
        ({"abort": {"status": 503, "grpcStatus": "INTERNAL"}}, "exactly one"),
        ({"abort": {"status": 99}}, "greater than or equal to 200"),
        ({"abort": {"status": 503, "percent": 101}}, "less than or equal to 100"),
    ],
)
def test_invalid_spec_is_rejected(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FaultInjectionSpec.model_validate(TARGET | spec)
