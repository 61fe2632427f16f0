"""Requests by rule of HTTPRoutes and GRPCRoutes, at gateways and between services."""

from __future__ import annotations

from meshwright.dashboards.board import RESILIENCE, ROUTES, Board, Section, dashboard_url, query_variable
from meshwright.dashboards.parts import (
    ANY_RATE_IS_BAD,
    LATENCY,
    SUCCESS,
    PanelColumn,
    TablePanel,
    TimeSeriesPanel,
)
from meshwright.dashboards.promql import route_quantile, routes, success

_BY_RULE = "{{route}}/{{rule}}"
_SELECTED = 'service=~"$service", route=~"$route"'


def _rate(what: str) -> str:
    return f"mesh:route_{what}:rate1m{{{_SELECTED}}}"


def _of_rule(expr: str) -> str:
    return f"sum by (route, rule) ({expr})"


def _of_selected(expr: str) -> str:
    return f"{expr} and on (service, route, rule) {_rate('requests')}"


_REQUESTS = _of_rule(_rate("requests"))
_FAILURES = _of_rule(_rate("failures"))

RULES = Section(
    "Rules",
    (
        TablePanel(
            "Rules",
            "Requests of each caller or gateway to each rule in the last minute. `#2` is a second rule "
            "without a name. Redirects are not counted.",
            {"service": "Caller", "route": "Route", "rule": "Rule"},
            (
                PanelColumn("Requests", _rate("requests"), "reqps"),
                PanelColumn("Success", success(_rate("failures"), _rate("requests")), "percentunit", SUCCESS),
                PanelColumn("4xx", _rate("client_errors"), "reqps"),
                PanelColumn("p50", route_quantile(0.5, _SELECTED), "ms"),
                PanelColumn("p99", route_quantile(0.99, _SELECTED), "ms", LATENCY),
                PanelColumn("Retries", _of_selected(routes("upstream_rq_retry")), "reqps", ANY_RATE_IS_BAD),
                PanelColumn(
                    "Timeouts", _of_selected(routes("upstream_rq_timeout")), "reqps", ANY_RATE_IS_BAD
                ),
            ),
            height=12,
            links=(("Resilience", dashboard_url(RESILIENCE, service="${__value.text}")),),
        ),
        TimeSeriesPanel(
            "Requests by rule",
            "Requests per second of all selected callers.",
            "reqps",
            ((_REQUESTS, _BY_RULE),),
            stacked=True,
        ),
        TimeSeriesPanel(
            "Success by rule",
            "The share of requests that did not fail: neither 5xx nor a gRPC status of a failure.",
            "percentunit",
            ((success(_FAILURES, _REQUESTS), _BY_RULE),),
            SUCCESS,
            max_value=1,
        ),
        TimeSeriesPanel(
            "p99 by rule",
            "99 % of the requests that an instance responded to took at most this long.",
            "ms",
            ((route_quantile(0.99, _SELECTED, "route, rule"), _BY_RULE),),
            LATENCY,
        ),
        TimeSeriesPanel(
            "4xx by rule",
            "Responses per second that blame the request, those of the proxy included.",
            "reqps",
            ((_of_rule(_rate("client_errors")), _BY_RULE),),
        ),
    ),
)

BOARD = Board(
    ROUTES,
    "Routes",
    "Requests by rule of HTTPRoutes and GRPCRoutes, at gateways and between services.",
    (RULES,),
    (
        query_variable("service", "Caller", "label_values(mesh:route_requests:rate1m, service)"),
        query_variable("route", "Route", "label_values(mesh:route_requests:rate1m, route)"),
    ),
)
