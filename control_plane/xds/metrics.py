"""What the xDS server counts, in the process's default registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

STREAMS = Gauge("mesh_xds_streams", "Open delta ADS streams")
PUSHES = Counter("mesh_xds_pushes_total", "Responses put in line for a stream", ["type"])
NACKS = Counter("mesh_xds_nacks_total", "Responses that an Envoy refused", ["type"])
REFUSALS = Counter("mesh_xds_refusals_total", "Streams refused: identity, node or number of streams")
NAMES_REFUSED = Counter("mesh_xds_names_refused_total", "Subscriptions beyond the bound on unknown names")
PUSH_SECONDS = Histogram(
    "mesh_xds_push_seconds",
    "From a change or a request to the ACK of what was sent for it",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15),
)


def short_type(type_url: str) -> str:
    """The last word of a type URL: `Cluster`. Only for types that are served: labels must stay few."""
    return type_url.rpartition(".")[2]
