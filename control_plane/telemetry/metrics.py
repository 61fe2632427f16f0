"""What the intake of telemetry counts, in the process's default registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

RECEIVED = Counter("mesh_telemetry_received_total", "Messages that were taken in", ["signal"])
DROPPED = Counter("mesh_telemetry_dropped_total", "Messages that were not taken in, by reason", ["reason"])
QUEUED = Gauge("mesh_telemetry_queued_bytes", "Bytes that wait to be folded")
REFUSED = Counter("mesh_telemetry_refused_total", "Calls refused for their identity")
EDGES_DROPPED = Counter("mesh_telemetry_edges_dropped_total", "Edges beyond the bound on their number")
