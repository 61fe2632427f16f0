"""One flush of a sidecar's metrics, summed up by upstream cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from meshwright.control_plane.api.cluster_names import EXTERNAL, app_port, parse_cluster_name
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.telemetry.ingest.envoy_stats import INBOUND, UNROUTED, StatPoint
from meshwright.control_plane.telemetry.topology import histogram
from meshwright.control_plane.telemetry.topology.counters import (
    COUNTER_FIELDS,
    LATENCY_STAT,
    UpstreamCounters,
)

GAUGE_FIELDS = {
    "outlier_detection.ejections_active": "ejected",
    "membership_total": "hosts",
    "upstream_cx_active": "open_connections",
}
"""Envoy's gauges of a cluster → fields of ClusterTraffic."""

APP_LISTENS = "membership_healthy"
"""Envoy's gauge of the app beside it: 1 if it accepts connections, else 0."""

_OUTCOME_COUNTER = re.compile(r"grpc\.\d+|local\.(failed|refused|ok)")


@dataclass(slots=True)
class MetricsFlush:
    """What one message of a node reports. `inbound` are responses to callers of its own service.

    `listens` tells of ports of its app whether they accept connections.
    `seconds` is the time the deltas cover, `end_ns` its end by the node's clock, in ns since the epoch.
    """

    clusters: dict[str, UpstreamCounters] = field(default_factory=dict)
    inbound: UpstreamCounters = field(default_factory=UpstreamCounters)
    gauges: list[StatPoint] = field(default_factory=list)
    seconds: float = 0.0
    end_ns: int = 0
    listens: dict[str, bool] = field(default_factory=dict)

    def add(self, point: StatPoint) -> None:
        """Add a data point; unused statistics and clusters that are not a service are ignored."""
        if point.cluster == INBOUND:
            self.inbound.completed += point.value
            self.inbound.failed += point.value if point.stat.endswith("_5xx") else 0.0
        if point.stat == APP_LISTENS and (port := app_port(point.cluster)):
            self.listens[port] = bool(point.value)
        if point.cluster not in (UNROUTED, EXTERNAL) and not parse_cluster_name(point.cluster).service:
            return
        if point.stat in GAUGE_FIELDS:
            self.gauges.append(point)
            return
        if point.stat in (LATENCY_STAT, "wait"):
            histogram.add(self._counters_of(point.cluster).latency_buckets, point.buckets or {})
        elif point.stat == "delayed":
            histogram.add(self._counters_of(point.cluster).delayed_buckets, point.buckets or {})
        elif point.stat in COUNTER_FIELDS or _OUTCOME_COUNTER.fullmatch(point.stat):
            self._counters_of(point.cluster).count(point.stat, point.value)
        else:
            return
        self.seconds, self.end_ns = max(self.seconds, point.seconds), max(self.end_ns, point.end)

    def _counters_of(self, cluster: str) -> UpstreamCounters:
        return self.clusters.setdefault(cluster, UpstreamCounters())


class NodeFlush(NamedTuple):
    """A flush and the node that sent it, as it is stored and replicated to other control planes."""

    identity: Identity
    node: str
    flush: MetricsFlush
