"""What services tell of themselves, by the names that every service of the exchange has."""

from __future__ import annotations

from meshwright.dashboards.board import APPS, SERVICE, Board, Section, chosen, explore_traces, to, traces
from meshwright.dashboards.parts import SUCCESS, Column, Figure, Lines, Rows
from meshwright.dashboards.promql import APP, APP_FAILED, quantile, rate, ratio

_SECONDS: tuple[tuple[float | None, str], ...] = ((None, "green"), (0.5, "orange"), (1, "red"))
_ALL = f"sum({rate('http_requests_total', APP)})"
_FAILED = f"sum({rate('http_requests_total', APP_FAILED)})"
_LINK = (("Service", to(SERVICE, service="${__field.labels.service}")),)


def _within(bound: str) -> str:
    part = rate("http_request_duration_seconds_bucket", f'{APP}, le="{bound}"')
    return ratio(f"sum({part})", f"sum({rate('http_request_duration_seconds_count', APP)})")


NOW = Section(
    "Now",
    (
        Figure("Requests", "Requests that apps answered a second, health checks among them.", "reqps", _ALL),
        Figure(
            "Success",
            "The share that was no 5xx, of what apps answered themselves.",
            "percentunit",
            f"1 - ({_FAILED} or {_ALL} * 0) / ({_ALL} > 0)",
            SUCCESS,
            decimals=2,
        ),
        Figure(
            "Within 100 ms",
            "The share of requests that was answered within 0.1 s.",
            "percentunit",
            _within("0.1"),
            ((None, "red"), (0.9, "orange"), (0.95, "green")),
            decimals=1,
        ),
        Figure(
            "Within 500 ms",
            "The share of requests that was answered within 0.5 s.",
            "percentunit",
            _within("0.5"),
            ((None, "red"), (0.98, "orange"), (0.99, "green")),
            decimals=1,
        ),
        Figure("Connections", "Open connections of apps.", "short", f"sum(active_connections{{{APP}}})"),
        Figure(
            "Not scraped",
            "Apps whose metrics Prometheus does not reach through their sidecars.",
            "short",
            f"count(up{{{APP}}} == 0) or vector(0)",
            ((None, "green"), (1, "red")),
        ),
    ),
)

ROUTES = Section(
    "Routes",
    (
        Rows(
            "Routes",
            "Each route of each service.",
            {"service": "Service", "method": "Method", "route": "Route"},
            (
                Column(
                    "Requests",
                    f"sum by (service, method, route) ({rate('http_requests_total', APP)})",
                    "reqps",
                ),
                Column(
                    "Failed",
                    "sum by (service, method, route) (" + rate("http_requests_total", APP_FAILED) + ")",
                    "reqps",
                    ((None, "green"), (1e-9, "red")),
                ),
                Column(
                    "p50", quantile(0.5, "http_request_duration_seconds", APP, "service, method, route"), "s"
                ),
                Column(
                    "p99",
                    quantile(0.99, "http_request_duration_seconds", APP, "service, method, route"),
                    "s",
                    _SECONDS,
                ),
            ),
            links=(("Service", to(SERVICE, service="${__value.text}")),),
        ),
    ),
)

COURSE = Section(
    "Over time",
    (
        Lines(
            "Requests by service",
            "What each app answered a second.",
            "reqps",
            ((f"sum by (service) ({rate('http_requests_total', APP)})", "{{service}}"),),
            width=8,
            stacked=True,
            links=_LINK,
        ),
        Lines(
            "Answers by status",
            "What apps answered a second, by status.",
            "reqps",
            ((f"sum by (status_code) ({rate('http_requests_total', APP)})", "{{status_code}}"),),
            width=8,
            stacked=True,
        ),
        Lines(
            "p99 by service",
            "99 of 100 requests took the app no longer: without the way there, retries and waiting.",
            "s",
            ((quantile(0.99, "http_request_duration_seconds", APP, "service"), "{{service}}"),),
            _SECONDS,
            width=8,
            links=_LINK,
        ),
        Lines(
            "Connections by instance",
            "Open connections of each app; most are its sidecar's.",
            "short",
            ((f"sum by (instance) (active_connections{{{APP}}})", "{{instance}}"),),
            width=8,
        ),
        Lines(
            "gRPC by method",
            "Calls of gRPC methods a second, by code.",
            "reqps",
            (
                (
                    f"sum by (method, code) ({rate('grpc_request_duration_seconds_count', APP)})",
                    "{{method}} {{code}}",
                ),
            ),
            width=8,
        ),
        Lines(
            "Market ticks sent",
            "Ticks that trading sent to analytics a second, by gRPC code.",
            "ops",
            ((f"sum by (code) ({rate('market_data_sent_total', APP)})", "{{code}}"),),
            width=8,
        ),
        Lines(
            "Processor",
            "Processors that each app keeps busy.",
            "percentunit",
            ((f"sum by (instance) ({rate('process_cpu_seconds_total', APP)})", "{{instance}}"),),
        ),
        Lines(
            "Memory",
            "Resident bytes of each app.",
            "bytes",
            ((f"sum by (instance) (process_resident_memory_bytes{{{APP}}})", "{{instance}}"),),
        ),
    ),
)

BOARD = Board(
    APPS,
    "Services' own",
    "What services tell of themselves: requests, their duration and connections.",
    (NOW, ROUTES, COURSE),
    (
        traces(),
        chosen("service", "Service", 'label_values(up{job="meshwright-app"}, service)'),
        chosen(
            "instance", "Instance", 'label_values(up{job="meshwright-app", service=~"$service"}, instance)'
        ),
    ),
    (explore_traces("$service"),),
)
