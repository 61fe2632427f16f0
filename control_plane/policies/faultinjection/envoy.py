"""A FaultInjection as Envoy's fault filter, configured for one route."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshwright.control_plane.envoy import codec, v3

if TYPE_CHECKING:
    from meshwright.control_plane.policies.faultinjection.spec import Abort, Delay, FaultInjectionSpec

NAME = "envoy.filters.http.fault"
"""The filter that outbound and gateway listeners carry; without a policy it does nothing."""

GRPC_CODES = {
    "CANCELLED": 1,
    "DEADLINE_EXCEEDED": 4,
    "RESOURCE_EXHAUSTED": 8,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
}
"""Numbers of gRPC's statuses (grpc.github.io, "Status codes and their use in gRPC")."""


def configure(spec: FaultInjectionSpec, route: v3.Route) -> None:
    """Let the filter do what `spec` says on `route`."""
    fault = v3.HTTPFault()
    if spec.delay is not None:
        _delay(spec.delay, fault)
    if spec.abort is not None:
        _abort(spec.abort, fault)
    for one in spec.headers:
        matcher = fault.headers.add(name=one.name.lower())
        if one.type == "RegularExpression":
            matcher.string_match.safe_regex.regex = one.value
        else:
            matcher.string_match.exact = one.value
    route.typed_per_filter_config[NAME].CopyFrom(codec.pack(fault))


def _delay(delay: Delay, fault: v3.HTTPFault) -> None:
    fault.delay.fixed_delay.FromTimedelta(delay.fixed)
    fault.delay.percentage.CopyFrom(_share(delay.percent))


def _abort(abort: Abort, fault: v3.HTTPFault) -> None:
    if abort.status is not None:
        fault.abort.http_status = abort.status
    if abort.grpc_status is not None:
        fault.abort.grpc_status = GRPC_CODES[abort.grpc_status]
    fault.abort.percentage.CopyFrom(_share(abort.percent))


def _share(percent: float) -> v3.FractionalPercent:
    return v3.FractionalPercent(numerator=round(percent * 10_000), denominator=v3.FractionalPercent.MILLION)
