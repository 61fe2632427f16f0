"""What a proxy's statistics say of its memory, its stream and its circuit breakers: pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from meshwright.control_plane.api.models.base import ClusterReport, ProxyReport

HEARTBEAT_INTERVAL = 2.0
"""Seconds between reports at most, even when nothing has changed."""

MAX_CLUSTERS = 500
"""Clusters that a report may name; what is not well comes first (types.ProxyReport)."""

MAX_EJECTED_ADDRESSES = 16
"""Ejected hosts that are named for one cluster."""

STATS_PATTERN = (
    r"cluster\.[^.]+\.(membership_total|outlier_detection\.ejections_(active|enforced_total)"
    r"|circuit_breakers\.default\.rq_(pending_)?open|upstream_(cx|rq_active|rq_pending)_overflow)"
    r"|server\.memory_physical_size|control_plane\.connected_state"
)
"""The statistics that are asked for, as a regular expression of whole names (RE2).

A limit on connections is judged by what it refused: over HTTP/2 one connection may be all that is allowed and
all that is needed.
"""

_LINE = re.compile(r"cluster\.([^.]+)\.(.+): (\d+)")
_VERSION = re.compile(r"[^/]*/([^/]+)/")


@dataclass(frozen=True, slots=True)
class StatsSnapshot:
    """One look at the statistics. `refused` counts what limits refused so far, by cluster."""

    memory: int = 0
    connected: bool = False
    clusters: tuple[ClusterReport, ...] = ()
    overflows: Mapping[str, int] = field(default_factory=dict)

    @property
    def has_ejections(self) -> bool:
        """Whether any host is ejected, so that it is worth asking which."""
        return any(one.ejected for one in self.clusters)


def parse_stats(text: str, before: StatsSnapshot | None) -> StatsSnapshot:
    """Read `/stats` as PATTERN asks for it; raises ValueError when it is something else.

    Clusters that begin with `/` are no service (api.clusters). What was refused since `before` means that a
    limit is reached, even if it is not at this very moment.
    """
    plain: dict[str, int] = {}
    counted: dict[str, dict[str, int]] = {}
    for line in text.splitlines():
        found = _LINE.fullmatch(line)
        if found:
            # In the names of statistics Envoy writes `_` for `:`, which no name of ours has.
            name = found[1].replace("_", ":")
            if not name.startswith("/"):
                counted.setdefault(name, {})[found[2]] = int(found[3])
        else:
            name, _, value = line.rpartition(": ")
            plain[name] = int(value)
    refused = {name: _sum(stats, "_overflow") for name, stats in counted.items()}
    known = before.overflows if before else refused
    clusters = [
        _cluster(name, stats, refused[name] > known.get(name, 0)) for name, stats in sorted(counted.items())
    ]
    clusters.sort(key=lambda one: not (one.limited or one.ejected))
    return StatsSnapshot(
        plain.get("server.memory_physical_size", 0),
        plain.get("control_plane.connected_state", 0) == 1,
        tuple(clusters[:MAX_CLUSTERS]),
        refused,
    )


def _cluster(name: str, stats: Mapping[str, int], refusing: bool) -> ClusterReport:
    return ClusterReport(
        cluster=name,
        hosts=stats.get("membership_total", 0),
        ejected=stats.get("outlier_detection.ejections_active", 0),
        limited=refusing or _sum(stats, "_open") > 0,
    )


def _sum(stats: Mapping[str, int], suffix: str) -> int:
    return sum(value for name, value in stats.items() if name.endswith(suffix))


def ejected_hosts(found: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """From `/clusters?format=json`: the addresses of ejected hosts, by cluster."""
    ejected = {}
    for cluster in found.get("cluster_statuses", ()):
        out = [
            _address(host)
            for host in cluster.get("host_statuses", ())
            if host.get("health_status", {}).get("failed_outlier_check")
        ]
        if out:
            ejected[str(cluster.get("name", ""))] = tuple(sorted(out)[:MAX_EJECTED_ADDRESSES])
    return ejected


def _address(host: Mapping[str, Any]) -> str:
    address = host.get("address", {}).get("socket_address", {})
    return f"{address.get('address', '')}:{address.get('port_value', 0)}"


def with_addresses(
    clusters: tuple[ClusterReport, ...], addresses: Mapping[str, tuple[str, ...]]
) -> tuple[ClusterReport, ...]:
    """The clusters with the addresses of their ejected hosts."""
    return tuple(
        one.model_copy(update={"ejected_addresses": addresses.get(one.cluster, ())}) if one.ejected else one
        for one in clusters
    )


def envoy_version(info: Mapping[str, Any]) -> str:
    """Envoy's version from `/server_info`, whose `version` is `revision/version/...`."""
    found = _VERSION.match(str(info.get("version", "")))
    return found[1][:64] if found else ""


def envoy_uptime(info: Mapping[str, Any]) -> float:
    """Seconds that this Envoy runs, from `/server_info` (`"55s"`)."""
    text = str(info.get("uptime_current_epoch", "")).removesuffix("s")
    return float(text) if text.isdecimal() else 0.0


def should_send(last: ProxyReport | None, report: ProxyReport, since: float) -> bool:
    """Whether to send `report`, `since` seconds after `last`: memory and uptime are no news by themselves."""
    quiet = {"memory": 0, "uptime": 0.0}
    return (
        last is None
        or since >= HEARTBEAT_INTERVAL
        or last.model_copy(update=quiet) != report.model_copy(update=quiet)
    )
