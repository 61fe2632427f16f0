"""Prometheus metrics of the admin API."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

REQUESTS = Counter(
    "mesh_admin_requests_total", "Admin API requests by operation and status.", ["operation", "status"]
)
SECONDS = Histogram(
    "mesh_admin_request_duration_seconds",
    "Duration of admin API requests.",
    ["operation"],
    buckets=(0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30),
)
REFUSED = Counter(
    "mesh_admin_refused_total", "Requests denied because of their host, origin, token or rights.", ["reason"]
)
