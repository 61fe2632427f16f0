"""One service: how it answers, whom it calls, its instances, its traces."""

from __future__ import annotations

from dataclasses import dataclass

from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.models import dashboard as models

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
from meshwright.dashboards.parts import (
    LATENCY,
    NONE_IS_GOOD,
    SUCCESS,
    TRACES,
    Figure,
    JaegerSearch,
    Lines,
    Panel,
)
from meshwright.dashboards.promql import PROXY, edge_quantile, edges_now, rate, success

_TO = 'callee=~"$service"'
_FROM = 'service=~"$service"'
_CALLS, _FAILURES = "mesh:edge_requests:rate1m", "mesh:edge_failures:rate1m"
_CLUSTER = 'job="meshwright-proxy", envoy_cluster_name=~"($service)([_/:].*)?"'
_GRPC = "envoy_cluster_grpc"
_IN = f'{PROXY}, instance=~"$instance", envoy_http_conn_manager_prefix=~"inbound|ingress"'
FAILURES = {2: "UNKNOWN", 4: "DEADLINE_EXCEEDED", 13: "INTERNAL", 14: "UNAVAILABLE", 15: "DATA_LOSS"}
"""gRPC statuses that are the server's fault."""

_STATUSES = {0: "OK", **FAILURES}
_EDGE = (("Edge", to(RESILIENCE, service="${__field.labels.service}", callee="${__field.labels.callee}")),)


def _grpc(which: str) -> str:
    return f"sum({rate(_GRPC, f'{_CLUSTER}, {which}')})"


@dataclass(frozen=True, slots=True)
class Traces(Panel):
    """A table of the latest traces of the service."""

    title: str
    words: str
    tags: str = ""

    def build(self) -> models.Panel:
        """The panel: Grafana links each row to the trace itself."""
        return (
            table.Panel()
            .title(self.title)
            .description(self.words)
            .datasource(TRACES)
            .unit("none")
            .span(12)
            .height(9)
            .no_value("-")
            .targets([JaegerSearch("$service", tags=self.tags)])
            .build()
        )


ANSWERS = Section(
    "How it answers",
    (
        Figure("Calls", "Calls to it, by all callers.", "reqps", f"sum({_CALLS}{{{_TO}}})"),
        Figure(
            "Success",
            "The share of calls to it that did not fail: no 5xx, and of gRPC no status that is its fault.",
            "percentunit",
            success(f"sum({_FAILURES}{{{_TO}}})", f"sum({_CALLS}{{{_TO}}})"),
            SUCCESS,
            decimals=2,
        ),
        Figure("p50", "Half of the calls took no longer.", "ms", edge_quantile(0.5, _TO), LATENCY),
        Figure("p99", "99 of 100 calls took no longer.", "ms", edge_quantile(0.99, _TO), LATENCY),
        Figure(
            "Healthy instances",
            "Instances that get calls.",
            "short",
            'sum(max by (service) (mesh_instances{service=~"$service", health="healthy"}))',
            ((None, "red"), (1, "green")),
        ),
        Figure(
            "Budget burnt in an hour",
            "How many times faster than the objective of 99.5 % allows calls to it failed within an hour. "
            "Above 14.4 somebody is paged.",
            "none",
            f"max(mesh:service_failures:ratio1h{{{_TO}}}) / 0.005",
            ((None, "green"), (1, "orange"), (14.4, "red")),
            decimals=1,
        ),
        Lines(
            "Calls by caller",
            "Who calls it, a second.",
            "reqps",
            ((f"{_CALLS}{{{_TO}}}", "{{service}}"),),
            stacked=True,
            links=_EDGE,
        ),
        Lines(
            "HTTP answers by class",
            "Final answers to its callers but gRPC's, those that their sidecars made among them.",
            "reqps",
            (
                (
                    f"sum by (envoy_response_code_class) ({rate('envoy_cluster_upstream_rq_xx', _CLUSTER)} "
                    f"unless on (instance, envoy_cluster_name) {_GRPC}{{{_CLUSTER}}})",
                    "{{envoy_response_code_class}}xx",
                ),
                (
                    "sum by (envoy_response_code) ("
                    + rate("envoy_mesh_injected", f'{_CLUSTER}, envoy_response_code!~"2.."')
                    + ")",
                    "{{envoy_response_code}} injected",
                ),
            ),
            stacked=True,
        ),
        Lines(
            "Duration",
            "How long calls took that a host answered, retries and waiting among it, as callers saw it.",
            "ms",
            tuple((edge_quantile(q / 100, _TO), f"p{q}") for q in (50, 95, 99)),
            LATENCY,
        ),
        Lines(
            "Success by caller",
            "The share of each caller's calls that did not fail.",
            "percentunit",
            ((f"mesh:edge_success:ratio1m{{{_TO}}}", "{{service}}"),),
            SUCCESS,
            most=1,
            links=_EDGE,
        ),
        Lines(
            "gRPC answers by status",
            "Final gRPC statuses of calls to it. Named are OK and those that count as failures; "
            "what else there is, such as NOT_FOUND, is the caller's affair.",
            "reqps",
            (
                *((_grpc(f'mesh_grpc_status="{number}"'), name) for number, name in _STATUSES.items()),
                (_grpc(f'mesh_grpc_status!~"{"|".join(map(str, _STATUSES))}"'), "others"),
            ),
            stacked=True,
        ),
        Lines(
            "Retries by caller",
            "Calls to it a second that its callers' sidecars made once more.",
            "reqps",
            ((f"mesh:edge_retries:rate1m{{{_TO}}}", "{{service}}"),),
            links=_EDGE,
        ),
    ),
)

CALLS = Section(
    "Whom it calls",
    (
        Lines(
            "Calls by callee",
            "Whom it calls, a second.",
            "reqps",
            ((f"{_CALLS}{{{_FROM}}}", "{{callee}}"),),
            width=8,
            stacked=True,
            links=_EDGE,
        ),
        Lines(
            "Failures by callee",
            "Calls of it that failed, a second.",
            "reqps",
            ((f"{_FAILURES}{{{_FROM}}}", "{{callee}}"),),
            width=8,
            links=_EDGE,
        ),
        Lines(
            "p99 by callee",
            "99 of 100 of its calls took no longer than this.",
            "ms",
            ((edge_quantile(0.99, _FROM, "callee"), "{{callee}}"),),
            LATENCY,
            width=8,
            links=_EDGE,
        ),
    ),
)

INSTANCES = Section(
    "Instances",
    (
        Lines(
            "Requests by instance",
            "What each sidecar took in for its app; of a gateway: from outside.",
            "reqps",
            ((f"sum by (instance) ({rate('envoy_http_downstream_rq_xx', _IN)})", "{{instance}}"),),
            width=8,
        ),
        Lines(
            "Failures by instance",
            "5xx that each instance answered, a second. gRPC's failures are HTTP 200 here.",
            "reqps",
            (
                (
                    "sum by (instance) ("
                    + rate("envoy_http_downstream_rq_xx", f'{_IN}, envoy_response_code_class="5"')
                    + ")",
                    "{{instance}}",
                ),
            ),
            NONE_IS_GOOD,
            width=8,
        ),
        Lines(
            "Under way",
            "Requests that each sidecar has taken in and not answered yet.",
            "short",
            ((f"sum by (instance) (envoy_http_downstream_rq_active{{{_IN}}})", "{{instance}}"),),
            width=8,
        ),
        Lines(
            "Hosts it can call",
            "Healthy hosts that its sidecars know of each callee.",
            "short",
            ((f"min by (callee) ({edges_now('membership_healthy')})", "{{callee}}"),),
        ),
        Lines(
            "Bytes",
            "Bytes a second that its sidecars took in (from callers) and gave back.",
            "Bps",
            (
                (f"sum({rate('envoy_http_downstream_cx_rx_bytes_total', _IN)})", "in"),
                (f"sum({rate('envoy_http_downstream_cx_tx_bytes_total', _IN)})", "out"),
            ),
        ),
    ),
)

KEPT = Section(
    "Traces",
    (
        Traces("Latest traces", "Traces in which it took part, from the chosen Jaeger; click one to see it."),
        Traces(
            "Latest traces with an error",
            "Traces in which a span of it failed.",
            "error=true",
        ),
    ),
)

BOARD = Board(
    SERVICE,
    "Service",
    "One service: how it answers, whom it calls, its instances, its traces.",
    (ANSWERS, CALLS, INSTANCES, KEPT),
    (
        traces(),
        chosen("service", "Service", 'label_values(up{job="meshwright-proxy"}, service)', many=False),
        chosen(
            "instance", "Instance", 'label_values(up{job="meshwright-proxy", service=~"$service"}, instance)'
        ),
    ),
    (explore_traces("$service"),),
)
