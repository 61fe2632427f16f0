"""Metrics of the apps themselves, by the names that the demo's services use."""

from __future__ import annotations

from meshwright.dashboards.board import (
    APPS,
    SERVICE,
    Board,
    Section,
    dashboard_url,
    explore_traces_link,
    query_variable,
    traces_variable,
)
from meshwright.dashboards.parts import SUCCESS, PanelColumn, StatPanel, TablePanel, TimeSeriesPanel
from meshwright.dashboards.promql import APP, APP_FAILED, quantile, rate, ratio

_SECONDS: tuple[tuple[float | None, str], ...] = ((None, "green"), (0.5, "orange"), (1, "red"))
_ALL = f"sum({rate('http_requests_total', APP)})"
_BY_ROUTE = "sum by (service, method, route)"
_FAILED = f"sum({rate('http_requests_total', APP_FAILED)})"
_LINK = (("Service", dashboard_url(SERVICE, service="${__field.labels.service}")),)


def _within(bound: str) -> str:
    part = rate("http_request_duration_seconds_bucket", f'{APP}, le="{bound}"')
    return ratio(f"sum({part})", f"sum({rate('http_request_duration_seconds_count', APP)})")


NOW = Section(
    "Now",
    (
        StatPanel(
            "Requests", "Requests per second that apps handled, health checks included.", "reqps", _ALL
        ),
        StatPanel(
            "Success",
            "The share of the apps' responses that were not 5xx.",
            "percentunit",
            f"clamp_min(1 - ({_FAILED} or {_ALL} * 0) / ({_ALL} > 0), 0)",
            SUCCESS,
            decimals=2,
        ),
        StatPanel(
            "Within 100 ms",
            "The share of requests that took at most 0.1 s.",
            "percentunit",
            _within("0.1"),
            ((None, "red"), (0.9, "orange"), (0.95, "green")),
            decimals=1,
        ),
        StatPanel(
            "Within 500 ms",
            "The share of requests that took at most 0.5 s.",
            "percentunit",
            _within("0.5"),
            ((None, "red"), (0.98, "orange"), (0.99, "green")),
            decimals=1,
        ),
        StatPanel("Connections", "Open connections of apps.", "short", f"sum(active_connections{{{APP}}})"),
        StatPanel(
            "Not scraped",
            "Apps whose metrics Prometheus cannot scrape through their sidecars.",
            "short",
            f"count(up{{{APP}}} == 0) or vector(0)",
            ((None, "green"), (1, "red")),
        ),
    ),
)

ROUTES = Section(
    "Routes",
    (
        TablePanel(
            "Routes",
            "Each route of each service.",
            {"service": "Service", "method": "Method", "route": "Route"},
            (
                PanelColumn(
                    "Requests",
                    f"sum by (service, method, route) ({rate('http_requests_total', APP)})",
                    "reqps",
                ),
                PanelColumn(
                    "Failed",
                    f"{_BY_ROUTE} ({rate('http_requests_total', APP_FAILED)})"
                    f" or {_BY_ROUTE} ({rate('http_requests_total', APP)}) * 0",
                    "reqps",
                    ((None, "green"), (1e-9, "red")),
                ),
                PanelColumn(
                    "p50", quantile(0.5, "http_request_duration_seconds", APP, "service, method, route"), "s"
                ),
                PanelColumn(
                    "p99",
                    quantile(0.99, "http_request_duration_seconds", APP, "service, method, route"),
                    "s",
                    _SECONDS,
                ),
            ),
            links=(("Service", dashboard_url(SERVICE, service="${__value.text}")),),
        ),
    ),
)

COURSE = Section(
    "Over time",
    (
        TimeSeriesPanel(
            "Requests by service",
            "Requests per second of each app.",
            "reqps",
            ((f"sum by (service) ({rate('http_requests_total', APP)})", "{{service}}"),),
            width=8,
            stacked=True,
            links=_LINK,
        ),
        TimeSeriesPanel(
            "Responses by status code",
            "Responses per second of the apps, by status code.",
            "reqps",
            ((f"sum by (status_code) ({rate('http_requests_total', APP)})", "{{status_code}}"),),
            width=8,
            stacked=True,
        ),
        TimeSeriesPanel(
            "p99 by service",
            "99 % of the requests took the app at most this long, without network, retries and queueing.",
            "s",
            ((quantile(0.99, "http_request_duration_seconds", APP, "service"), "{{service}}"),),
            _SECONDS,
            width=8,
            links=_LINK,
        ),
        TimeSeriesPanel(
            "Connections by instance",
            "Open connections of each app. Most come from its sidecar.",
            "short",
            ((f"sum by (instance) (active_connections{{{APP}}})", "{{instance}}"),),
            width=8,
        ),
        TimeSeriesPanel(
            "gRPC by method",
            "gRPC calls per second, by method and code.",
            "reqps",
            (
                (
                    f"sum by (method, code) ({rate('grpc_request_duration_seconds_count', APP)})",
                    "{{method}} {{code}}",
                ),
            ),
            width=8,
        ),
        TimeSeriesPanel(
            "CPU",
            "CPU cores used by each app.",
            "percentunit",
            ((f"sum by (instance) ({rate('process_cpu_seconds_total', APP)})", "{{instance}}"),),
            width=8,
        ),
        TimeSeriesPanel(
            "Memory",
            "Resident memory of each app.",
            "bytes",
            ((f"sum by (instance) (process_resident_memory_bytes{{{APP}}})", "{{instance}}"),),
            width=8,
        ),
    ),
)

BOARD = Board(
    APPS,
    "Application metrics",
    "Metrics of the apps themselves: requests, durations and connections.",
    (NOW, ROUTES, COURSE),
    (
        traces_variable(),
        query_variable("service", "Service", 'label_values(up{job="meshwright-app"}, service)'),
        query_variable(
            "instance", "Instance", 'label_values(up{job="meshwright-app", service=~"$service"}, instance)'
        ),
    ),
    (explore_traces_link("$service"),),
)
