"""Edges: retries, circuit breakers, ejections and timeouts between callers and callees."""

from __future__ import annotations

from meshwright.dashboards.board import (
    RESILIENCE,
    SERVICE,
    Board,
    Section,
    dashboard_url,
    explore_traces_link,
    query_variable,
    traces_variable,
)
from meshwright.dashboards.parts import (
    ANY_RATE_IS_BAD,
    LATENCY,
    SUCCESS,
    PanelColumn,
    StateTimelinePanel,
    StatPanel,
    TablePanel,
    TimeSeriesPanel,
)
from meshwright.dashboards.promql import (
    EDGE,
    edge_quantile,
    edges,
    edges_now,
    injected,
    ratio,
    to_selected_callees,
)

_NAME = "{{service}} → {{callee}}"
_CALLS = f"mesh:edge_requests:rate1m{{{EDGE}}}"
_BREAKER = 'caller=~"$service", callee=~"$callee"'


def _breakers(state: str) -> str:
    return f'max by (caller, callee) (mesh_breaker_state{{{_BREAKER}, state="{state}"}})'


def _bytes_per_try(metric: str) -> str:
    """Envoy counts bytes by connection anyway. Its histograms of sizes would cost CPU on every request."""
    return to_selected_callees(ratio(edges(metric), edges("upstream_rq_total")))


EDGES = Section(
    "Edges",
    (
        TablePanel(
            "Edges",
            "Requests between services in the last minute, and how the caller's sidecar handled failures.",
            {"service": "Caller", "callee": "Callee"},
            (
                PanelColumn("Requests", _CALLS, "reqps"),
                PanelColumn("Success", f"mesh:edge_success:ratio1m{{{EDGE}}}", "percentunit", SUCCESS),
                PanelColumn("p50", edge_quantile(0.5, EDGE, "service, callee"), "ms"),
                PanelColumn("p99", edge_quantile(0.99, EDGE, "service, callee"), "ms", LATENCY),
                PanelColumn("Retries", f"mesh:edge_retries:rate1m{{{EDGE}}}", "reqps", ANY_RATE_IS_BAD),
                PanelColumn(
                    "Timeouts", to_selected_callees(edges("upstream_rq_timeout")), "reqps", ANY_RATE_IS_BAD
                ),
                PanelColumn("In flight", to_selected_callees(edges_now("upstream_rq_active"))),
                PanelColumn("Healthy hosts", to_selected_callees(edges_now("membership_healthy"))),
            ),
            links=(("Service", dashboard_url(SERVICE, service="${__value.text}")),),
        ),
        TimeSeriesPanel(
            "Success by edge",
            "The share of requests that did not fail, after retries.",
            "percentunit",
            ((f"mesh:edge_success:ratio1m{{{EDGE}}}", _NAME),),
            SUCCESS,
            max_value=1,
        ),
        TimeSeriesPanel(
            "p99 by edge",
            "99 % of the requests that a host responded to took at most this long.",
            "ms",
            ((edge_quantile(0.99, EDGE, "service, callee"), _NAME),),
            LATENCY,
        ),
        TimeSeriesPanel(
            "Request size by edge",
            "Mean bytes that a caller's sidecar sent for each try, with headers and before encryption.",
            "bytes",
            ((_bytes_per_try("upstream_cx_tx_bytes_total"), _NAME),),
        ),
        TimeSeriesPanel(
            "Response size by edge",
            "Mean bytes that a caller's sidecar received for each try, with headers and after decryption.",
            "bytes",
            ((_bytes_per_try("upstream_cx_rx_bytes_total"), _NAME),),
        ),
    ),
)

RETRIES = Section(
    "Retries and timeouts",
    (
        StatPanel(
            "Retry rate",
            "Retries in relation to the requests of these edges. A retry budget above 20 % is not sensible.",
            "percentunit",
            f"sum(mesh:edge_retries:rate1m{{{EDGE}}}) / (sum({_CALLS}) > 0)",
            ((None, "green"), (0.05, "orange"), (0.2, "red")),
            width=6,
            decimals=1,
        ),
        StatPanel(
            "Successful retries",
            "The share of retries that succeeded.",
            "percentunit",
            ratio(
                f"sum({to_selected_callees(edges('upstream_rq_retry_success'))})",
                f"sum({to_selected_callees(edges('upstream_rq_retry'))})",
            ),
            width=6,
            decimals=1,
        ),
        StatPanel(
            "Retries denied",
            "Retries per second that were not made: over the budget, or over the maximum number of tries.",
            "reqps",
            f"sum({to_selected_callees(edges('upstream_rq_retry_overflow'))}) + "
            f"sum({to_selected_callees(edges('upstream_rq_retry_limit_exceeded'))})",
            ANY_RATE_IS_BAD,
            width=6,
            decimals=2,
        ),
        StatPanel(
            "Request timeouts",
            "Requests per second that exceeded their timeout.",
            "reqps",
            f"sum({to_selected_callees(edges('upstream_rq_timeout'))})",
            ANY_RATE_IS_BAD,
            width=6,
            decimals=2,
        ),
        TimeSeriesPanel(
            "Retries by edge",
            "Retries per second.",
            "reqps",
            ((f"mesh:edge_retries:rate1m{{{EDGE}}}", _NAME),),
        ),
        TimeSeriesPanel(
            "Timeouts by edge",
            "Requests and tries per second that exceeded their timeout.",
            "reqps",
            (
                (to_selected_callees(edges("upstream_rq_timeout")), f"{_NAME} request"),
                (to_selected_callees(edges("upstream_rq_per_try_timeout")), f"{_NAME} try"),
            ),
        ),
        TimeSeriesPanel(
            "Connection failures",
            "Connections per second that were refused or timed out.",
            "cps",
            (
                (to_selected_callees(edges("upstream_cx_connect_fail")), f"{_NAME} refused"),
                (to_selected_callees(edges("upstream_cx_connect_timeout")), f"{_NAME} timed out"),
            ),
        ),
        TimeSeriesPanel(
            "Injected faults",
            "Responses per second generated by FaultInjection policies. They count as requests of the edge, "
            "and as failures if their status is one.",
            "reqps",
            ((to_selected_callees(injected()), _NAME),),
        ),
    ),
)

BREAKERS = Section(
    "Circuit breakers and ejections",
    (
        StateTimelinePanel(
            "Circuit breakers",
            "The state of each edge's circuit breaker. Partial: requests go to the remaining hosts. "
            "Half-open: a health check decides whether a host returns.",
            f"{_breakers('half-open')} + 2 * {_breakers('partial')} + 3 * {_breakers('open')}",
            "{{caller}} → {{callee}}",
            {
                0: ("closed", "green"),
                1: ("half-open", "yellow"),
                2: ("partial", "orange"),
                3: ("open", "red"),
            },
        ),
        TimeSeriesPanel(
            "Trials of ejected hosts",
            "Health checks by which circuit breakers with halfOpen: probe decided, in a minute.",
            "short",
            (
                (
                    "sum by (caller, callee, outcome) "
                    f"(increase(mesh_breaker_trials_total{{{_BREAKER}}}[1m]))",
                    "{{caller}} → {{callee}} {{outcome}}",
                ),
            ),
        ),
        TimeSeriesPanel(
            "Circuit breaker overflow",
            "Requests per second denied because a limit of the connection pool or breaker was reached.",
            "reqps",
            (
                (to_selected_callees(edges("upstream_rq_pending_overflow")), f"{_NAME} requests"),
                (to_selected_callees(edges("upstream_cx_overflow")), f"{_NAME} connections"),
            ),
            ANY_RATE_IS_BAD,
        ),
        TimeSeriesPanel(
            "Ejected hosts",
            "Hosts that callers have ejected because they failed.",
            "short",
            (
                (
                    "max by (callee) (label_replace(envoy_cluster_outlier_detection_ejections_active"
                    '{job="meshwright-proxy", service=~"$service", '
                    'envoy_cluster_name=~"($callee)([_/].*)?"}, '
                    '"callee", "$1", "envoy_cluster_name", "([^/_:]+).*"))',
                    "{{callee}}",
                ),
            ),
            ANY_RATE_IS_BAD,
        ),
        TimeSeriesPanel(
            "Healthy hosts",
            "Hosts that each caller's sidecar considers healthy, out of all its hosts.",
            "short",
            (
                (to_selected_callees(edges_now("membership_healthy")), f"{_NAME} healthy"),
                (to_selected_callees(edges_now("membership_total")), f"{_NAME} all"),
            ),
        ),
        TimeSeriesPanel(
            "In flight",
            "Requests without a response yet, and requests waiting for a connection.",
            "short",
            (
                (to_selected_callees(edges_now("upstream_rq_active")), f"{_NAME} in flight"),
                (to_selected_callees(edges_now("upstream_rq_pending_active")), f"{_NAME} waiting"),
            ),
        ),
    ),
)

BOARD = Board(
    RESILIENCE,
    "Resilience",
    "Edges: retries, circuit breakers, ejections and timeouts between callers and callees.",
    (EDGES, RETRIES, BREAKERS),
    (
        traces_variable(),
        query_variable("service", "Caller", 'label_values(up{job="meshwright-proxy"}, service)'),
        query_variable("callee", "Callee", "label_values(mesh:edge_requests:rate1m, callee)"),
    ),
    (explore_traces_link("$callee"),),
)
