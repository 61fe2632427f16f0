"""What FaultInjection answers, counted by the cluster that it was meant for.

The fault filter answers before anything is sent, so no statistic of a cluster has these requests; to their
callers they are failed calls of that service like any other. gRPC calls are counted by their status as well.
"""

from __future__ import annotations

from functools import lru_cache

from meshwright.control_plane.envoy import codec, v3

FAULT_FLAG = "FI"
"""Envoy's response flag of a request that the fault filter answered."""

COUNTER_TAGS = {"envoy.cluster_name": "%UPSTREAM_CLUSTER%", "envoy.response_code": "%RESPONSE_CODE%"}


@lru_cache(maxsize=1)
def fault_counter() -> v3.AccessLog:
    """The access log that writes nothing but adds to the counter `mesh.injected`."""
    config = v3.StatsAccessLog()
    config.stats_scope.prefix = "mesh"
    counter = config.counters.add(value_fixed=v3.UInt64Value(value=1))
    counter.stat.name = "injected"
    for name, value in COUNTER_TAGS.items():
        counter.stat.tags.add(name=name, value_format=value)
    only = v3.AccessLogFilter(response_flag_filter=v3.ResponseFlagFilter(flags=[FAULT_FLAG]))
    return v3.AccessLog(name="envoy.access_loggers.stats", filter=only, typed_config=codec.pack(config))
