"""Is the mesh healthy, how do services depend on each other, and which one needs attention?"""

from __future__ import annotations

from meshwright.dashboards.board import (
    OVERVIEW,
    RESILIENCE,
    SERVICE,
    SIDECARS,
    Board,
    Section,
    dashboard_url,
    traces_variable,
)
from meshwright.dashboards.graph import ServiceGraphPanel
from meshwright.dashboards.parts import (
    ANY_RATE_IS_BAD,
    HEALTH_COLOURS,
    LATENCY,
    PROXY_COLOURS,
    SUCCESS,
    ZERO_IS_GOOD,
    PanelColumn,
    StatPanel,
    TablePanel,
    TimeSeriesPanel,
)
from meshwright.dashboards.promql import edge_quantile, success

_CALLS, _FAILURES = "sum(mesh:service_requests:rate1m)", "sum(mesh:service_failures:rate1m)"

NOW = Section(
    "Now",
    (
        StatPanel(
            "Calls",
            "Requests between services and from gateways, counted by the callers' sidecars.",
            "reqps",
            _CALLS,
        ),
        StatPanel(
            "Success",
            "The share of requests that did not fail, after retries. Failures are 5xx and the gRPC statuses "
            "that are the server's fault. The objective is 99.5 %.",
            "percentunit",
            success(_FAILURES, _CALLS),
            SUCCESS,
            decimals=2,
        ),
        StatPanel(
            "p99",
            "99 % of the requests that a host responded to took at most this long.",
            "ms",
            edge_quantile(0.99, ""),
            LATENCY,
        ),
        StatPanel(
            "Unhealthy instances",
            "Instances whose health check fails. They get no requests.",
            "short",
            'sum(max by (service) (mesh_instances{health="unhealthy"}))',
            ZERO_IS_GOOD,
        ),
        StatPanel(
            "Out of sync",
            "Sidecars that are pending, have rejected their configuration, or are disconnected.",
            "short",
            'sum(mesh_proxies{state!="synced"})',
            ZERO_IS_GOOD,
        ),
        StatPanel(
            "Open circuit breakers",
            "Edges where every host is ejected or a limit is reached.",
            "short",
            'sum(max by (caller, callee) (mesh_breaker_state{state="open"})) or vector(0)',
            ZERO_IS_GOOD,
        ),
    ),
)

GRAPH = Section(
    "Topology",
    (
        ServiceGraphPanel(
            "Service graph",
            "Nodes show requests/s and p99 (for a gateway, of the requests it sends); the ring shows "
            "failures. Edges show requests/s and success rate.",
            (
                ("Service", dashboard_url(SERVICE, **{"service": "${__data.fields.id}"})),
                ("Edges", dashboard_url(RESILIENCE, **{"callee": "${__data.fields.id}"})),
            ),
        ),
    ),
)

SERVICES = Section(
    "Services",
    (
        TablePanel(
            "Services",
            "Requests to each service in the last minute, from all callers.",
            {"callee": "Service"},
            (
                PanelColumn("Requests", "sum by (callee) (mesh:service_requests:rate1m)", "reqps"),
                PanelColumn(
                    "Success",
                    success("mesh:service_failures:rate1m", "mesh:service_requests:rate1m"),
                    "percentunit",
                    SUCCESS,
                ),
                PanelColumn("p50", edge_quantile(0.5, "", "callee"), "ms"),
                PanelColumn("p95", edge_quantile(0.95, "", "callee"), "ms"),
                PanelColumn("p99", edge_quantile(0.99, "", "callee"), "ms", LATENCY),
                PanelColumn(
                    "Retries", "sum by (callee) (mesh:edge_retries:rate1m)", "reqps", ANY_RATE_IS_BAD
                ),
                PanelColumn(
                    "Healthy",
                    'max by (callee) (label_replace(mesh_instances{health="healthy"}, '
                    '"callee", "$1", "service", "(.*)"))',
                ),
            ),
            links=(("Service", dashboard_url(SERVICE, service="${__value.text}")),),
        ),
        TimeSeriesPanel(
            "Requests by service",
            "Requests per second to each service.",
            "reqps",
            (("mesh:service_requests:rate1m", "{{callee}}"),),
            links=(("Service", dashboard_url(SERVICE, service="${__field.labels.callee}")),),
            width=8,
        ),
        TimeSeriesPanel(
            "Failures by service",
            "The share of requests to each service that failed. Above the line it exceeds its error budget.",
            "percentunit",
            (
                (
                    "clamp_max(mesh:service_failures:rate1m / (mesh:service_requests:rate1m > 0), 1)",
                    "{{callee}}",
                ),
            ),
            ((None, "green"), (0.005, "red")),
            links=(("Service", dashboard_url(SERVICE, service="${__field.labels.callee}")),),
            width=8,
        ),
        TimeSeriesPanel(
            "p99 by service",
            "99 % of the requests to each service took at most this long.",
            "ms",
            (("mesh:service_latency_milliseconds:p99", "{{callee}}"),),
            LATENCY,
            links=(("Service", dashboard_url(SERVICE, service="${__field.labels.callee}")),),
            width=8,
        ),
    ),
)

HEALTH = Section(
    "Health",
    (
        TablePanel(
            "Alerts",
            "Pending and firing alerts. docs/alerts.md says what to do.",
            {"alertname": "Alert", "severity": "Severity", "alertstate": "State", "callee": "Service"},
            (
                PanelColumn(
                    "Alerts",
                    'count by (alertname, severity, alertstate, callee) (ALERTS{alertname=~"Mesh.*"})',
                ),
            ),
            width=12,
            height=8,
        ),
        TimeSeriesPanel(
            "Instances by health",
            "Instances with a lease. Draining instances finish their in-flight requests.",
            "short",
            (("sum by (health) (max by (service, health) (mesh_instances))", "{{health}}"),),
            colours=HEALTH_COLOURS,
            stacked=True,
            width=6,
        ),
        TimeSeriesPanel(
            "Sidecars by state",
            "Sidecars by whether they have ACKed their configuration.",
            "short",
            (("sum by (state) (mesh_proxies)", "{{state}}"),),
            colours=PROXY_COLOURS,
            stacked=True,
            width=6,
            links=(("Sidecars", dashboard_url(SIDECARS)),),
        ),
    ),
)

BOARD = Board(
    OVERVIEW,
    "Mesh overview",
    "Is the mesh healthy, how do services depend on each other, and which one needs attention?",
    (NOW, GRAPH, SERVICES, HEALTH),
    (traces_variable(),),
)
