"""Prometheus metrics of global rate limits, in the process's default registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter(
    "mesh_rate_limit_requests_total",
    "Requests that proxies asked about, by policy and outcome (passed, refused, audited, unknown)",
    ["policy", "outcome"],
)
FAILURES = Counter(
    "mesh_rate_limit_failures_total",
    "Requests about which proxies got no answer, so that onFailure of their policy decided, by reason",
    ["reason"],
)
AVAILABLE = Gauge(
    "mesh_rate_limit_available", "1 while the store counts for global limits, 0 while it does not"
)
DURATION = Histogram(
    "mesh_rate_limit_seconds",
    "Time until the store had counted a batch",
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05),
)
AVAILABLE.set(1)
for _reason in ("denied", "late", "malformed", "store"):
    FAILURES.labels(_reason)  # a rate needs the zero before the first failure
