"""Edges: retries, breakers, ejections and timeouts between who calls and who is called."""

from __future__ import annotations

from meshwright.dashboards.board import (
    RESILIENCE,
    SERVICE,
    Board,
    Section,
    chosen,
    explore_traces,
    to,
    traces,
)
from meshwright.dashboards.parts import LATENCY, SOME_IS_BAD, SUCCESS, Column, Figure, Lines, Rows, States
from meshwright.dashboards.promql import EDGE, edge_quantile, edges, edges_now, injected, ratio, towards

_NAME = "{{service}} → {{callee}}"
_CALLS = f"mesh:edge_requests:rate1m{{{EDGE}}}"
_BREAKER = 'caller=~"$service", callee=~"$callee"'


def _breakers(state: str) -> str:
    return f'max by (caller, callee) (mesh_breaker_state{{{_BREAKER}, state="{state}"}})'


EDGES = Section(
    "Edges",
    (
        Rows(
            "Edges",
            "Who called whom in the last minute, and what the caller's sidecar did about failures.",
            {"service": "Caller", "callee": "Callee"},
            (
                Column("Calls", _CALLS, "reqps"),
                Column("Success", f"mesh:edge_success:ratio1m{{{EDGE}}}", "percentunit", SUCCESS),
                Column("p50", edge_quantile(0.5, EDGE, "service, callee"), "ms"),
                Column("p99", edge_quantile(0.99, EDGE, "service, callee"), "ms", LATENCY),
                Column("Retries", f"mesh:edge_retries:rate1m{{{EDGE}}}", "reqps", SOME_IS_BAD),
                Column("Timeouts", towards(edges("upstream_rq_timeout")), "reqps", SOME_IS_BAD),
                Column("Under way", towards(edges_now("upstream_rq_active"))),
                Column("Healthy hosts", towards(edges_now("membership_healthy"))),
            ),
            links=(("Service", to(SERVICE, service="${__value.text}")),),
        ),
        Lines(
            "Success by edge",
            "The share of calls that did not fail, retries done.",
            "percentunit",
            ((f"mesh:edge_success:ratio1m{{{EDGE}}}", _NAME),),
            SUCCESS,
            most=1,
        ),
        Lines(
            "p99 by edge",
            "99 of 100 calls that a host answered took no longer than this.",
            "ms",
            ((edge_quantile(0.99, EDGE, "service, callee"), _NAME),),
            LATENCY,
        ),
    ),
)

RETRIES = Section(
    "Retries and timeouts",
    (
        Figure(
            "Calls retried",
            "Retries for each hundred calls of these edges; a budget of 20 % is the most that is sensible.",
            "percentunit",
            f"sum(mesh:edge_retries:rate1m{{{EDGE}}}) / (sum({_CALLS}) > 0)",
            ((None, "green"), (0.05, "orange"), (0.2, "red")),
            width=6,
            decimals=1,
        ),
        Figure(
            "Retries that helped",
            "The share of retries whose answer was a success.",
            "percentunit",
            ratio(
                f"sum({towards(edges('upstream_rq_retry_success'))})",
                f"sum({towards(edges('upstream_rq_retry'))})",
            ),
            width=6,
            decimals=1,
        ),
        Figure(
            "Retries refused",
            "Retries a second that were due and not done: over the budget, or over the number of tries.",
            "reqps",
            f"sum({towards(edges('upstream_rq_retry_overflow'))}) + "
            f"sum({towards(edges('upstream_rq_retry_limit_exceeded'))})",
            SOME_IS_BAD,
            width=6,
            decimals=2,
        ),
        Figure(
            "Calls timed out",
            "Calls a second that were given up because their time was over.",
            "reqps",
            f"sum({towards(edges('upstream_rq_timeout'))})",
            SOME_IS_BAD,
            width=6,
            decimals=2,
        ),
        Lines(
            "Retries by edge",
            "Retries a second.",
            "reqps",
            ((f"mesh:edge_retries:rate1m{{{EDGE}}}", _NAME),),
        ),
        Lines(
            "Timeouts by edge",
            "Calls and single tries a second whose time was over.",
            "reqps",
            (
                (towards(edges("upstream_rq_timeout")), f"{_NAME} call"),
                (towards(edges("upstream_rq_per_try_timeout")), f"{_NAME} try"),
            ),
        ),
        Lines(
            "Connections that failed",
            "Connections a second that were refused or took too long.",
            "cps",
            (
                (towards(edges("upstream_cx_connect_fail")), f"{_NAME} refused"),
                (towards(edges("upstream_cx_connect_timeout")), f"{_NAME} too slow"),
            ),
        ),
        Lines(
            "Faults injected",
            "Answers a second that FaultInjection policies made up. They are calls of the edge like others, "
            "failed where their status says so.",
            "reqps",
            ((towards(injected()), _NAME),),
        ),
    ),
)

BREAKERS = Section(
    "Circuit breakers and ejections",
    (
        States(
            "Breakers",
            "The state of each edge's circuit breaker. Partial: calls go to the hosts that are left.",
            f"{_breakers('partial')} + 2 * {_breakers('open')}",
            "{{caller}} → {{callee}}",
            {0: ("closed", "green"), 1: ("partial", "orange"), 2: ("open", "red")},
        ),
        Lines(
            "Calls refused by limits",
            "Calls a second that were refused because a limit of the pool or breaker was reached.",
            "reqps",
            (
                (towards(edges("upstream_rq_pending_overflow")), f"{_NAME} requests"),
                (towards(edges("upstream_cx_overflow")), f"{_NAME} connections"),
            ),
            SOME_IS_BAD,
        ),
        Lines(
            "Hosts ejected",
            "Hosts that callers leave out at the moment because they failed.",
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
            SOME_IS_BAD,
            width=8,
        ),
        Lines(
            "Healthy hosts",
            "Hosts that each caller's sidecar holds for healthy, of all that it knows.",
            "short",
            (
                (towards(edges_now("membership_healthy")), f"{_NAME} healthy"),
                (towards(edges_now("membership_total")), f"{_NAME} all"),
            ),
            width=8,
        ),
        Lines(
            "Under way",
            "Calls that have no answer yet, and calls that wait for a connection.",
            "short",
            (
                (towards(edges_now("upstream_rq_active")), f"{_NAME} under way"),
                (towards(edges_now("upstream_rq_pending_active")), f"{_NAME} waiting"),
            ),
            width=8,
        ),
    ),
)

BOARD = Board(
    RESILIENCE,
    "Resilience",
    "Edges: retries, breakers, ejections and timeouts between who calls and who is called.",
    (EDGES, RETRIES, BREAKERS),
    (
        traces(),
        chosen("service", "Caller", 'label_values(up{job="meshwright-proxy"}, service)'),
        chosen("callee", "Callee", "label_values(mesh:edge_requests:rate1m, callee)"),
    ),
    (explore_traces("$callee"),),
)
