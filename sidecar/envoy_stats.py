"""Parses Envoy's statistics for a proxy report: memory, xDS connection, breakers, ejections. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from meshwright.control_plane.api.cluster_names import parse_cluster_name
from meshwright.control_plane.api.models.proxies import ClusterReport, ProxyReport
from meshwright.sidecar.envoy_admin import count_active
from meshwright.sidecar.trials import TrialCounts, TriedInstance

HEARTBEAT_INTERVAL = 2.0
"""Maximum seconds between reports, even when nothing has changed."""

MAX_CLUSTERS = 500
"""Clusters that a report may contain, limited and ejected ones first (ProxyReport)."""

MAX_EJECTED_ADDRESSES = 16
"""Ejected hosts that a report lists for one cluster."""

STATS_PATTERN = (
    r"cluster\.[^.]+\.(membership_total|outlier_detection\.ejections_(active|enforced_total)"
    r"|circuit_breakers\.default\.rq_(pending_)?open|upstream_(cx|rq_active|rq_pending)_overflow)"
    r"|server\.memory_physical_size|control_plane\.connected_state"
    r"|http\..+\.downstream_rq_active|cluster\./connect\.upstream_cx_active"
)
"""The full names of the statistics in a report, as a regular expression (RE2).

A connection limit counts as reached only when it rejected something: over HTTP/2 a single connection may be
both the limit and enough.
"""

_ACTIVE = re.compile(r"(?m)^\S+stream_[cr][xq]_active: \d+\n?")
"""The statistics that count_active counts. Under load they differ each second, and the others hardly ever."""

_LINE = re.compile(r"cluster\.([^.]+)\.(.+): (\d+)")
_VERSION = re.compile(r"[^/]*/([^/]+)/")


@dataclass(frozen=True, slots=True)
class StatsSnapshot:
    """The statistics at one moment. `overflows` counts requests rejected by limits so far, by cluster."""

    memory: int = 0
    connected: bool = False
    clusters: tuple[ClusterReport, ...] = ()
    overflows: Mapping[str, int] = field(default_factory=dict)

    @property
    def has_ejections(self) -> bool:
        """Whether any host is ejected, so that it is worth asking which."""
        return any(cluster.ejected for cluster in self.clusters)


def split_active(text: str) -> tuple[str, int]:
    """The statistics without those of requests in progress, and the number of these requests."""
    return _ACTIVE.sub("", text), count_active("".join(_ACTIVE.findall(text)))


def parse_stats(text: str, previous: StatsSnapshot | None) -> StatsSnapshot:
    """Parse what split_active leaves of the statistics. Raises ValueError for anything else.

    Skips clusters that stand neither for a service nor for an ExternalService (api.cluster_names). A cluster
    is limited when it rejected requests since `previous`, or when a breaker is open at present.
    """
    values: dict[str, int] = {}
    clusters: dict[str, dict[str, int]] = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match:
            # Envoy writes `:` as `_` in names of statistics; our cluster names contain no `_`.
            cluster = match[1].replace("_", ":")
            if parse_cluster_name(cluster).service:
                clusters.setdefault(cluster, {})[match[2]] = int(match[3])
        else:
            name, _, value = line.rpartition(": ")
            values[name] = int(value)
    overflows = {cluster: _sum(stats, "_overflow") for cluster, stats in clusters.items()}
    before = previous.overflows if previous else overflows
    reports = [
        _cluster_report(cluster, stats, overflows[cluster] > before.get(cluster, 0))
        for cluster, stats in sorted(clusters.items())
    ]
    reports.sort(key=lambda report: not (report.limited or report.ejected))
    return StatsSnapshot(
        values.get("server.memory_physical_size", 0),
        values.get("control_plane.connected_state", 0) == 1,
        tuple(reports[:MAX_CLUSTERS]),
        overflows,
    )


def _cluster_report(name: str, stats: Mapping[str, int], overflowed: bool) -> ClusterReport:
    return ClusterReport(
        cluster=name,
        hosts=stats.get("membership_total", 0),
        ejected=stats.get("outlier_detection.ejections_active", 0),
        limited=overflowed or _sum(stats, "_open") > 0,
    )


def _sum(stats: Mapping[str, int], suffix: str) -> int:
    return sum(value for name, value in stats.items() if name.endswith(suffix))


def ejected_hosts(response: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The addresses of ejected hosts by cluster, from `/clusters?format=json`."""
    ejected: dict[str, list[str]] = defaultdict(list)
    for name, host in _hosts(response):
        if host.get("health_status", {}).get("failed_outlier_check"):
            ejected[name].append(_address(host))
    return {name: tuple(sorted(addresses)) for name, addresses in ejected.items()}


def out_instances(
    response: Mapping[str, Any], clusters: Collection[str], noted: Collection[TriedInstance]
) -> frozenset[TriedInstance]:
    """The instances of `clusters` that get no requests: ejected, or kept out by a failed trial.

    `response` is that of `/clusters?format=json`. A failed check alone is no failed trial: the first check
    fails while Envoy starts, since its own listeners do not answer yet. So only one of `noted` is kept out.
    """
    result = set()
    for name, host in _hosts(response):
        instance, health = TriedInstance(name, _address(host)), host.get("health_status", {})
        kept_out = instance in noted and health.get("failed_active_health_check")
        if name in clusters and (health.get("failed_outlier_check") or kept_out):
            result.add(instance)
    return frozenset(result)


def healthy_instances(response: Mapping[str, Any]) -> frozenset[TriedInstance]:
    """The instances whose last check passed, from `/clusters?format=json`."""
    return frozenset(
        TriedInstance(name, _address(host))
        for name, host in _hosts(response)
        if not host.get("health_status", {}).get("failed_active_health_check")
    )


def _hosts(response: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for cluster in response.get("cluster_statuses", ()):
        for host in cluster.get("host_statuses", ()):
            yield str(cluster.get("name", "")), host


def _address(host: Mapping[str, Any]) -> str:
    address = host.get("address", {}).get("socket_address", {})
    return f"{address.get('address', '')}:{address.get('port_value', 0)}"


def with_addresses(
    clusters: tuple[ClusterReport, ...], addresses: Mapping[str, tuple[str, ...]]
) -> tuple[ClusterReport, ...]:
    """The clusters, with the addresses of their ejected hosts."""
    return tuple(
        cluster.model_copy(
            update={"ejected_addresses": addresses.get(cluster.cluster, ())[:MAX_EJECTED_ADDRESSES]}
        )
        if cluster.ejected
        else cluster
        for cluster in clusters
    )


def with_trials(
    clusters: tuple[ClusterReport, ...],
    out: Collection[TriedInstance],
    counts: Mapping[str, TrialCounts],
) -> tuple[ClusterReport, ...]:
    """The clusters, with their trials; `out` are the instances that only a trial readmits."""
    addresses: dict[str, list[str]] = defaultdict(list)
    for instance in sorted(out):
        addresses[instance.cluster].append(instance.address)
    result = []
    for cluster in clusters:
        count, kept_out = counts.get(cluster.cluster), addresses.get(cluster.cluster, ())
        update: dict[str, Any] = {}
        if count is not None:
            update |= {"half_open": count.half_open, "passed": count.passed, "failed": count.failed}
        if kept_out:
            update |= {
                "ejected": len(kept_out),
                "ejected_addresses": tuple(kept_out[:MAX_EJECTED_ADDRESSES]),
            }
        result.append(cluster.model_copy(update=update) if update else cluster)
    return tuple(result)


def envoy_version(info: Mapping[str, Any]) -> str:
    """Envoy's version from `/server_info`, whose `version` is `revision/version/...`."""
    match = _VERSION.match(str(info.get("version", "")))
    return match[1][:64] if match else ""


def envoy_uptime(info: Mapping[str, Any]) -> float:
    """Seconds since this Envoy started, from `/server_info` (`"55s"`)."""
    text = str(info.get("uptime_current_epoch", "")).removesuffix("s")
    return float(text) if text.isdecimal() else 0.0


def should_send(last: ProxyReport | None, report: ProxyReport, elapsed: float) -> bool:
    """Whether to send `report`, `elapsed` seconds after `last`.

    Memory, uptime and open streams alone are not a change.
    """
    ignored = {"memory": 0, "uptime": 0.0, "open_streams": 0}
    return (
        last is None
        or elapsed >= HEARTBEAT_INTERVAL
        or last.model_copy(update=ignored) != report.model_copy(update=ignored)
    )
