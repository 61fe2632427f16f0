"""FaultInjection as Envoy's fault filter: always in the chain, configured per route.

The filter responds before anything is sent, so no cluster statistic counts these requests, although they are
failed calls of that service to their callers. A stats access log counts them by cluster instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
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

COUNTER_TAGS = {"envoy.cluster_name": "%UPSTREAM_CLUSTER%", "envoy.response_code": "%RESPONSE_CODE%"}

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
        Symptom("DI", ("delay",)),
        Symptom(ABORT_FLAG, ("abort",), statistic="mesh.injected"),
    )

    @classmethod
    def http_filters(cls, direction: ListenerDirection) -> Sequence[FilterEntry]:
        """The caller's side only: faults happen before a request is sent."""
        return () if direction == "inbound" else ((FilterPhase.FAULT, NAME, v3.HTTPFault()),)

    @classmethod
    def prepare_listener(cls, manager: v3.HttpConnectionManager, direction: ListenerDirection) -> None:
        """Count aborted requests."""
        if direction != "inbound":
            manager.access_log.append(_abort_counter())

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


@lru_cache(maxsize=1)
def _abort_counter() -> v3.AccessLog:
    """An access log that writes nothing and increments the counter `mesh.injected`, tagged by cluster."""
    config = v3.StatsAccessLog()
    config.stats_scope.prefix = "mesh"
    counter = config.counters.add(value_fixed=v3.UInt64Value(value=1))
    counter.stat.name = "injected"
    for name, value in COUNTER_TAGS.items():
        counter.stat.tags.add(name=name, value_format=value)
    aborted = v3.AccessLogFilter(response_flag_filter=v3.ResponseFlagFilter(flags=[ABORT_FLAG]))
    return v3.AccessLog(name="envoy.access_loggers.stats", filter=aborted, typed_config=codec.pack(config))
