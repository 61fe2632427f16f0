"""Is the mesh well, who calls whom, and which service to look at?"""

from __future__ import annotations

from meshwright.dashboards.board import OVERVIEW, RESILIENCE, SERVICE, SIDECARS, Board, Section, to, traces
from meshwright.dashboards.graph import Topology
from meshwright.dashboards.parts import (
    LATENCY,
    NONE_IS_GOOD,
    SOME_IS_BAD,
    SUCCESS,
    Column,
    Figure,
    Lines,
    Rows,
)
from meshwright.dashboards.promql import edge_quantile, success

_CALLS, _FAILURES = "sum(mesh:service_requests:rate1m)", "sum(mesh:service_failures:rate1m)"

NOW = Section(
    "Now",
    (
        Figure(
            "Calls",
            "Calls between services and from gateways, as the callers' sidecars count them.",
            "reqps",
            _CALLS,
        ),
        Figure(
            "Success",
            "The share of calls that did not fail, retries done: no 5xx, and of gRPC no status that is the "
            "server's fault. The objective is 99.5 %.",
            "percentunit",
            success(_FAILURES, _CALLS),
            SUCCESS,
            decimals=2,
        ),
        Figure(
            "p99",
            "99 of 100 calls that a host answered took no longer than this.",
            "ms",
            edge_quantile(0.99, ""),
            LATENCY,
        ),
        Figure(
            "Instances not healthy",
            "Instances whose own health check fails. They get no calls.",
            "short",
            'sum(max by (service) (mesh_instances{health="unhealthy"}))',
            NONE_IS_GOOD,
        ),
        Figure(
            "Sidecars not in step",
            "Sidecars that are pending, have rejected what they were sent, or are disconnected.",
            "short",
            'sum(mesh_proxies{state!="synced"})',
            NONE_IS_GOOD,
        ),
        Figure(
            "Breakers open",
            "Edges on which every host is ejected or every limit is reached.",
            "short",
            'sum(max by (caller, callee) (mesh_breaker_state{state="open"})) or vector(0)',
            NONE_IS_GOOD,
        ),
    ),
)

GRAPH = Section(
    "Topology",
    (
        Topology(
            "Who calls whom",
            "Each node: calls to it a second and their p99 (a gateway: the calls it makes), "
            "its ring the share that failed. Each edge: calls a second and success.",
            (
                ("Service", to(SERVICE, **{"service": "${__data.fields.id}"})),
                ("Edges", to(RESILIENCE, **{"callee": "${__data.fields.id}"})),
            ),
        ),
    ),
)

SERVICES = Section(
    "Services",
    (
        Rows(
            "Services",
            "What each service was asked in the last minute, by all its callers.",
            {"callee": "Service"},
            (
                Column("Calls", "sum by (callee) (mesh:service_requests:rate1m)", "reqps"),
                Column(
                    "Success",
                    success("mesh:service_failures:rate1m", "mesh:service_requests:rate1m"),
                    "percentunit",
                    SUCCESS,
                ),
                Column("p50", edge_quantile(0.5, "", "callee"), "ms"),
                Column("p95", edge_quantile(0.95, "", "callee"), "ms"),
                Column("p99", edge_quantile(0.99, "", "callee"), "ms", LATENCY),
                Column("Retries", "sum by (callee) (mesh:edge_retries:rate1m)", "reqps", SOME_IS_BAD),
                Column(
                    "Healthy",
                    'max by (callee) (label_replace(mesh_instances{health="healthy"}, '
                    '"callee", "$1", "service", "(.*)"))',
                ),
            ),
            links=(("Service", to(SERVICE, service="${__value.text}")),),
        ),
        Lines(
            "Calls by service",
            "Calls to each service a second.",
            "reqps",
            (("mesh:service_requests:rate1m", "{{callee}}"),),
            links=(("Service", to(SERVICE, service="${__field.labels.callee}")),),
            width=8,
        ),
        Lines(
            "Failures by service",
            "The share of calls to each service that failed. The line is where its budget burns.",
            "percentunit",
            (
                (
                    "mesh:service_failures:rate1m / (mesh:service_requests:rate1m > 0)",
                    "{{callee}}",
                ),
            ),
            ((None, "green"), (0.005, "red")),
            links=(("Service", to(SERVICE, service="${__field.labels.callee}")),),
            width=8,
        ),
        Lines(
            "p99 by service",
            "99 of 100 calls to each service took no longer than this.",
            "ms",
            (("mesh:service_latency_milliseconds:p99", "{{callee}}"),),
            LATENCY,
            links=(("Service", to(SERVICE, service="${__field.labels.callee}")),),
            width=8,
        ),
    ),
)

HEALTH = Section(
    "Health",
    (
        Rows(
            "Alerts",
            "Alerts of dashboards/rules/alerts.yml that are pending or fire; docs/alerts.md has what to do.",
            {"alertname": "Alert", "severity": "Severity", "alertstate": "State", "callee": "Service"},
            (
                Column(
                    "Alerts",
                    'count by (alertname, severity, alertstate, callee) (ALERTS{alertname=~"Mesh.*"})',
                ),
            ),
            width=12,
            height=8,
        ),
        Lines(
            "Instances by health",
            "Instances with a lease. Draining ones finish what they have.",
            "short",
            (("sum by (health) (max by (service, health) (mesh_instances))", "{{health}}"),),
            stacked=True,
            width=6,
        ),
        Lines(
            "Sidecars by state",
            "Sidecars by whether they have acknowledged what they were sent.",
            "short",
            (("sum by (state) (mesh_proxies)", "{{state}}"),),
            stacked=True,
            width=6,
            links=(("Sidecars", to(SIDECARS)),),
        ),
    ),
)

BOARD = Board(
    OVERVIEW,
    "Mesh overview",
    "Is the mesh well, who calls whom, and which service to look at?",
    (NOW, GRAPH, SERVICES, HEALTH),
    (traces(),),
)
