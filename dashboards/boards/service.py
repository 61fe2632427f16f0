"""One service: inbound and outbound requests, instances, traces."""

from __future__ import annotations

from dataclasses import dataclass

from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.models import dashboard as models

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
    CLASS_COLOURS,
    LATENCY,
    SUCCESS,
    TRACES,
    ZERO_IS_GOOD,
    JaegerSearch,
    Panel,
    StatPanel,
    TimeSeriesPanel,
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
_EDGE = (
    (
        "Edge",
        dashboard_url(RESILIENCE, service="${__field.labels.service}", callee="${__field.labels.callee}"),
    ),
)


def _grpc(which: str) -> str:
    return f"sum({rate(_GRPC, f'{_CLUSTER}, {which}')})"


@dataclass(frozen=True, slots=True)
class TracesPanel(Panel):
    """A table of the service's latest traces."""

    title: str
    description: str
    tags: str = ""

    def build(self) -> models.Panel:
        """The panel. Grafana links each row to its trace."""
        return (
            table.Panel()
            .title(self.title)
            .description(self.description)
            .datasource(TRACES)
            .unit("none")
            .span(12)
            .height(9)
            .no_value("-")
            .targets([JaegerSearch("$service", tags=self.tags)])
            .build()
        )


ANSWERS = Section(
    "Inbound",
    (
        StatPanel(
            "Requests", "Requests to the service, from all callers.", "reqps", f"sum({_CALLS}{{{_TO}}})"
        ),
        StatPanel(
            "Success",
            "The share of requests to the service that did not fail, by HTTP or gRPC status.",
            "percentunit",
            success(f"sum({_FAILURES}{{{_TO}}})", f"sum({_CALLS}{{{_TO}}})"),
            SUCCESS,
            decimals=2,
        ),
        StatPanel(
            "p50", "Half of the requests took at most this long.", "ms", edge_quantile(0.5, _TO), LATENCY
        ),
        StatPanel(
            "p99", "99 % of the requests took at most this long.", "ms", edge_quantile(0.99, _TO), LATENCY
        ),
        StatPanel(
            "Healthy instances",
            "Instances that get requests.",
            "short",
            'sum(max by (service) (mesh_instances{service=~"$service", health="healthy"}))',
            ((None, "red"), (1, "green")),
        ),
        StatPanel(
            "Error budget burn rate (1h)",
            "How many times faster than the objective of 99.5 % allows requests failed in the last hour. "
            "Above 14.4 an alert pages.",
            "none",
            f"max(mesh:service_failures:ratio1h{{{_TO}}}) / 0.005",
            ((None, "green"), (1, "orange"), (14.4, "red")),
            decimals=1,
        ),
        TimeSeriesPanel(
            "Requests by caller",
            "Requests per second from each caller.",
            "reqps",
            ((f"{_CALLS}{{{_TO}}}", "{{service}}"),),
            stacked=True,
            links=_EDGE,
        ),
        TimeSeriesPanel(
            "HTTP responses by class",
            "Final responses to callers, without gRPC, including those that sidecars generated.",
            "reqps",
            (
                (
                    f"sum by (envoy_response_code_class) ({rate('envoy_cluster_upstream_rq_xx', _CLUSTER)} "
                    f"unless on (instance, envoy_cluster_name) {_GRPC}{{{_CLUSTER}}})",
                    "{{envoy_response_code_class}}xx",
                ),
                (
                    "sum by (envoy_response_code) ("
                    + rate("envoy_mesh_local_replies", f'{_CLUSTER}, envoy_response_code!~"2.."')
                    + ")",
                    "{{envoy_response_code}} by the mesh",
                ),
            ),
            stacked=True,
            colours=CLASS_COLOURS,
        ),
        TimeSeriesPanel(
            "Duration",
            "Duration of requests that an instance responded to. Retries count, injected delays do not.",
            "ms",
            tuple((edge_quantile(q / 100, _TO), f"p{q}") for q in (50, 95, 99)),
            LATENCY,
        ),
        TimeSeriesPanel(
            "Success by caller",
            "The share of each caller's requests that did not fail.",
            "percentunit",
            ((f"mesh:edge_success:ratio1m{{{_TO}}}", "{{service}}"),),
            SUCCESS,
            max_value=1,
            links=_EDGE,
        ),
        TimeSeriesPanel(
            "gRPC responses by status",
            "Final gRPC statuses. OK and the statuses that count as failures have their own lines; "
            "all others, such as NOT_FOUND, are the caller's fault.",
            "reqps",
            (
                *((_grpc(f'mesh_grpc_status="{number}"'), name) for number, name in _STATUSES.items()),
                (_grpc(f'mesh_grpc_status!~"{"|".join(map(str, _STATUSES))}"'), "others"),
            ),
            width=8,
            stacked=True,
        ),
        TimeSeriesPanel(
            "Retries by caller",
            "Requests per second that the callers' sidecars sent again.",
            "reqps",
            ((f"mesh:edge_retries:rate1m{{{_TO}}}", "{{service}}"),),
            width=8,
            links=_EDGE,
        ),
        TimeSeriesPanel(
            "4xx by caller",
            "Responses per second that each caller's requests were the reason for. They are no failures.",
            "reqps",
            (
                (
                    "sum by (service) ("
                    + rate("envoy_cluster_upstream_rq_xx", f'{_CLUSTER}, envoy_response_code_class="4"')
                    + ") > 0",
                    "{{service}}",
                ),
            ),
            width=8,
        ),
    ),
)

CALLS = Section(
    "Outbound",
    (
        TimeSeriesPanel(
            "Requests by callee",
            "Requests per second to each callee.",
            "reqps",
            ((f"{_CALLS}{{{_FROM}}}", "{{callee}}"),),
            width=8,
            stacked=True,
            links=_EDGE,
        ),
        TimeSeriesPanel(
            "Failures by callee",
            "Requests per second that failed.",
            "reqps",
            ((f"{_FAILURES}{{{_FROM}}}", "{{callee}}"),),
            width=8,
            links=_EDGE,
        ),
        TimeSeriesPanel(
            "p99 by callee",
            "99 % of its requests took at most this long.",
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
        TimeSeriesPanel(
            "Requests by instance",
            "Requests per second that each sidecar received for its app (a gateway: from outside).",
            "reqps",
            ((f"sum by (instance) ({rate('envoy_http_downstream_rq_xx', _IN)})", "{{instance}}"),),
            width=8,
        ),
        TimeSeriesPanel(
            "Failures by instance",
            "5xx responses per second of each instance. Failed gRPC calls are HTTP 200 here.",
            "reqps",
            (
                (
                    "sum by (instance) ("
                    + rate("envoy_http_downstream_rq_xx", f'{_IN}, envoy_response_code_class="5"')
                    + ")",
                    "{{instance}}",
                ),
            ),
            ZERO_IS_GOOD,
            width=8,
        ),
        TimeSeriesPanel(
            "In flight",
            "Requests that each sidecar has received and not yet responded to.",
            "short",
            ((f"sum by (instance) (envoy_http_downstream_rq_active{{{_IN}}})", "{{instance}}"),),
            width=8,
        ),
        TimeSeriesPanel(
            "Healthy upstream hosts",
            "Healthy hosts of each callee, as its sidecars see them.",
            "short",
            ((f"min by (callee) ({edges_now('membership_healthy')})", "{{callee}}"),),
        ),
        TimeSeriesPanel(
            "Bytes",
            "Bytes per second received from callers and sent back.",
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
        TracesPanel(
            "Latest traces",
            "Traces that include the service, from the selected Jaeger. Click one to open it.",
        ),
        TracesPanel(
            "Latest failed traces",
            "Traces in which one of its spans failed.",
            "error=true",
        ),
    ),
)

BOARD = Board(
    SERVICE,
    "Service",
    "One service: inbound and outbound requests, instances, traces.",
    (ANSWERS, CALLS, INSTANCES, KEPT),
    (
        traces_variable(),
        query_variable("service", "Service", 'label_values(up{job="meshwright-proxy"}, service)', many=False),
        query_variable(
            "instance", "Instance", 'label_values(up{job="meshwright-proxy", service=~"$service"}, instance)'
        ),
    ),
    (explore_traces_link("$service"),),
)
