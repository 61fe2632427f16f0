"""Metrics of the control plane's own process, in the default registry."""

from __future__ import annotations

from prometheus_client import Histogram

BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
"""Seconds."""

LAG = Histogram("mesh_event_loop_lag_seconds", "How late the event loop runs a timer.", buckets=BUCKETS)
GENERATION = Histogram(
    "mesh_generation_seconds", "Time to translate the stored state into a snapshot.", buckets=BUCKETS
)
