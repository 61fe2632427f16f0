"""Prometheus metrics of every service. The boards rely on their names."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

from meshwright.services.kit.service import BUCKETS

LABELS = ("method", "route", "status_code")

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""Methods with a label of their own. Clients can invent any number of others."""


class ServiceMetrics:
    """The metrics of one service, in their own registry."""

    def __init__(self, service: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._service = service
        self._duration = Histogram(
            "http_request_duration_seconds",
            "Duration of HTTP requests.",
            LABELS,
            buckets=BUCKETS,
            registry=self.registry,
        )
        self._requests = Counter("http_requests", "HTTP requests.", LABELS, registry=self.registry)
        self._connections = Gauge(
            "active_connections", "Open connections.", ("service",), registry=self.registry
        )
        ProcessCollector(registry=self.registry)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request. `route` is a path template, never a path, so that it has few values."""
        labels = (method if method in METHODS else "other", route, str(status))
        self._duration.labels(*labels).observe(seconds)
        self._requests.labels(*labels).inc()

    def connections_from(self, count: Callable[[], int]) -> None:
        """Read the number of open connections from `count` at each scrape."""
        self._connections.labels(self._service).set_function(count)

    def text(self) -> bytes:
        """All metrics in Prometheus's text format 0.0.4."""
        return generate_latest(self.registry)
