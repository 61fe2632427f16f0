"""Access logs that write nothing and count: statistics by tags that Envoy's own do not have.

Envoy evaluates them once a request, after its end.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshwright.control_plane.envoy import codec, v3

STAT_PREFIX = "mesh"
"""What the names of these statistics begin with."""


def config() -> v3.StatsAccessLog:
    """The configuration of an access log without statistics."""
    return v3.StatsAccessLog(stat_prefix=STAT_PREFIX)


def counting(name: str, tags: Mapping[str, str]) -> v3.StatsAccessLog:
    """One that counts requests. `tags`: formats of access logs; a missing value is empty."""
    result = config()
    set_stat(result.counters.add(value_fixed=v3.UInt64Value(value=1)).stat, name, tags)
    return result


def set_stat(stat: v3.StatsAccessLog.Stat, name: str, tags: Mapping[str, str]) -> None:
    """Name a statistic and its tags."""
    stat.name = name
    for tag, value in tags.items():
        stat.tags.add(name=tag, value_format=value)


def access_log(counts: v3.StatsAccessLog, accepted: v3.AccessLogFilter) -> v3.AccessLog:
    """The access log of a configuration, for the requests that a filter accepts."""
    return v3.AccessLog(name="envoy.access_loggers.stats", filter=accepted, typed_config=codec.pack(counts))
