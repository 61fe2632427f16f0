"""What the admin API counts about itself, in the process's registry."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

REQUESTS = Counter(
    "mesh_admin_requests_total", "Requests of the admin API by operation and status.", ["operation", "status"]
)
SECONDS = Histogram(
    "mesh_admin_request_duration_seconds",
    "How long the admin API took.",
    ["operation"],
    buckets=(0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30),
)
REFUSED = Counter("mesh_admin_refused_total", "Requests refused for their host, origin or token.", ["reason"])
