"""Metrics of the xDS server, in the default registry of the process."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

STREAMS = Gauge("mesh_xds_streams", "Open delta ADS streams")
PUSHES = Counter("mesh_xds_pushes_total", "Responses queued for a stream", ["type"])
NACKS = Counter("mesh_xds_nacks_total", "Responses that an Envoy NACKed", ["type"])
REFUSALS = Counter("mesh_xds_refusals_total", "Streams refused: wrong identity or node, or too many streams")
NAMES_REFUSED = Counter(
    "mesh_xds_names_refused_total", "Subscriptions beyond the limit for unknown resource names"
)
PUSH_SECONDS = Histogram(
    "mesh_xds_push_seconds",
    "Time from a change or a request to the ACK of the response",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
)


def short_type(type_url: str) -> str:
    """The last segment of a type URL, such as `Cluster`. Only for served types: labels must stay few."""
    return type_url.rpartition(".")[2]
