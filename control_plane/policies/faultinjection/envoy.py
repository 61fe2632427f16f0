"""FaultInjection as Envoy's fault filter: always in the chain, configured per route.

The filter responds before anything is sent, so no cluster statistic counts these requests and their delay
(core/local_replies.py does).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.faultinjection.spec import Abort, Delay, FaultInjectionSpec
from meshwright.control_plane.policies.hooks import (
    FilterEntry,
    FilterPhase,
    Hooks,
    ListenerDirection,
    Symptom,
)

NAME = "envoy.filters.http.fault"

ABORT_FLAG = "FI"
"""Envoy's response flag of a request that the fault filter aborted."""

DELAY_FLAG = "DI"
"""Envoy's response flag of a request that the fault filter delayed."""

GRPC_CODES = {
    "CANCELLED": 1,
    "DEADLINE_EXCEEDED": 4,
    "RESOURCE_EXHAUSTED": 8,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
}
"""gRPC status numbers (grpc.github.io, "Status codes and their use in gRPC")."""


class FaultInjectionHooks(Hooks[FaultInjectionSpec]):
    """The fault filter on outbound and ingress listeners; without a policy it does nothing."""

    explains: ClassVar[tuple[Symptom, ...]] = (
        Symptom(DELAY_FLAG, ("delay",)),
        Symptom(ABORT_FLAG, ("abort",), statistic="mesh.local_replies"),
    )

    @classmethod
    def http_filters(cls, direction: ListenerDirection) -> Sequence[FilterEntry]:
        """The caller's side only: faults happen before a request is sent."""
        return () if direction == "inbound" else ((FilterPhase.FAULT, NAME, v3.HTTPFault()),)

    def patch_route(self, route: v3.Route) -> list[v3.Route]:
        """Configure the fault filter for this route."""
        fault = v3.HTTPFault()
        if self.spec.delay is not None:
            _set_delay(self.spec.delay, fault)
        if self.spec.abort is not None:
            _set_abort(self.spec.abort, fault)
        for match in self.spec.headers:
            matcher = fault.headers.add(name=match.name.lower())
            if match.type == "RegularExpression":
                matcher.string_match.safe_regex.regex = match.value
            else:
                matcher.string_match.exact = match.value
        route.typed_per_filter_config[NAME].CopyFrom(codec.pack(fault))
        return [route]


def _set_delay(delay: Delay, fault: v3.HTTPFault) -> None:
    fault.delay.fixed_delay.FromTimedelta(delay.fixed)
    fault.delay.percentage.CopyFrom(_percentage(delay.percent))


def _set_abort(abort: Abort, fault: v3.HTTPFault) -> None:
    if abort.status is not None:
        fault.abort.http_status = abort.status
    if abort.grpc_status is not None:
        fault.abort.grpc_status = GRPC_CODES[abort.grpc_status]
    fault.abort.percentage.CopyFrom(_percentage(abort.percent))


def _percentage(percent: float) -> v3.FractionalPercent:
    return v3.FractionalPercent(numerator=round(percent * 10_000), denominator=v3.FractionalPercent.MILLION)
