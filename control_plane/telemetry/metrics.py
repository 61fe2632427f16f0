"""What the intake of telemetry counts, in the process's default registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

RECEIVED = Counter("mesh_telemetry_received_total", "Messages that were taken in", ["signal"])
DROPPED = Counter("mesh_telemetry_dropped_total", "Messages that were not taken in, by reason", ["reason"])
QUEUED = Gauge("mesh_telemetry_queued_bytes", "Bytes that wait to be folded")
REFUSED = Counter("mesh_telemetry_refused_total", "Calls refused for their identity")
EDGES_DROPPED = Counter("mesh_telemetry_edges_dropped_total", "Edges beyond the bound on their number")

TRACES_STORED = Gauge("mesh_traces_kept", "Traces that are kept")
TRACE_BYTES = Gauge("mesh_traces_bytes", "Bytes of memory that they take, estimated")
SPANS_STORED = Counter("mesh_spans_total", "Spans that were kept, if only for a while")
SPANS_EVICTED = Counter("mesh_spans_evicted_total", "Spans that made room for newer ones")
SPANS_DROPPED = Counter("mesh_spans_dropped_total", "Spans that were not kept, by reason", ["reason"])

REQUESTS_RECEIVED = Counter(
    "mesh_requests_total", "Requests that proxies told and that were kept, if only for a while"
)
REQUESTS_STORED = Gauge("mesh_requests_kept", "Requests that are kept")
REQUESTS_DROPPED = Counter(
    "mesh_requests_dropped_total", "Requests that were told and not kept, by reason", ["reason"]
)

EXPORTED = Counter("mesh_forward_sent_total", "Items that a collector took, by signal", ["signal"])
EXPORT_DROPPED = Counter(
    "mesh_forward_dropped_total", "Items that were not forwarded, by reason", ["signal", "reason"]
)
EXPORT_RETRIES = Counter("mesh_forward_retries_total", "Requests that were put off", ["signal"])
EXPORT_QUEUED = Gauge("mesh_forward_queued_bytes", "Bytes that wait to be forwarded")
