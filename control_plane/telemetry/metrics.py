"""Prometheus metrics of telemetry, in the process's default registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

RECEIVED = Counter("mesh_telemetry_received_total", "OTLP messages received", ["signal"])
DROPPED = Counter("mesh_telemetry_dropped_total", "OTLP messages dropped", ["reason"])
QUEUED = Gauge("mesh_telemetry_queued_bytes", "Size of the OTLP messages waiting to be processed")
DENIED = Counter("mesh_telemetry_refused_total", "OTLP calls denied because of the caller's identity")
EDGES_DROPPED = Counter("mesh_telemetry_edges_dropped_total", "Edges dropped because a limit was reached")

TRACES_STORED = Gauge("mesh_traces_kept", "Traces stored")
TRACE_BYTES = Gauge("mesh_traces_bytes", "Estimated memory used by stored traces")
SPANS_STORED = Counter("mesh_spans_total", "Spans stored, including those evicted since")
SPANS_EVICTED = Counter("mesh_spans_evicted_total", "Stored spans evicted to make room for newer ones")
SPANS_DROPPED = Counter("mesh_spans_dropped_total", "Spans dropped instead of stored", ["reason"])

REQUESTS_RECEIVED = Counter(
    "mesh_requests_total", "Request log records stored, including those evicted since"
)
REQUESTS_STORED = Gauge("mesh_requests_kept", "Request log records stored")
REQUESTS_DROPPED = Counter(
    "mesh_requests_dropped_total", "Request log records dropped instead of stored", ["reason"]
)

REFUSED = Counter(
    "mesh_requests_refused_total",
    "Requests that a policy refused, by policy, service of the proxy, and caller (outside: of a gateway)",
    ["policy", "service", "caller"],
)
CONNECTIONS_REFUSED = Counter(
    "mesh_connections_refused_total",
    "Connections that a sidecar refused for want of the mutual TLS that it requires",
    ["service", "reason"],
)
REFUSALS_UNCOUNTED = Counter(
    "mesh_refusals_uncounted_total", "Refusals left out of the two counters above: too many sorts in a second"
)

EXPORTED = Counter(
    "mesh_forward_sent_total", "Spans, data points and log records the collector accepted", ["signal"]
)
EXPORT_DROPPED = Counter(
    "mesh_forward_dropped_total",
    "Spans, data points and log records dropped instead of exported",
    ["signal", "reason"],
)
EXPORT_RETRIES = Counter("mesh_forward_retries_total", "Export requests that will be retried", ["signal"])
EXPORT_QUEUED = Gauge("mesh_forward_queued_bytes", "Size of the telemetry waiting to be exported")
