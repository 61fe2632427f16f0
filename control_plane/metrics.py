"""How long the control plane's own work takes, in the process's registry."""

from __future__ import annotations

from prometheus_client import Histogram

LAG = Histogram(
    "mesh_event_loop_lag_seconds",
    "How much later than asked for the event loop came round.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
GENERATION = Histogram(
    "mesh_generation_seconds",
    "From what is stored to a new configuration of the whole mesh.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
