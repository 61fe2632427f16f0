"""Names of metrics → cluster and statistic, with tags as attributes and as parts of the name."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from meshwright.control_plane.telemetry.ingest import otlp
from meshwright.control_plane.telemetry.ingest.envoy_stats import (
    INBOUND,
    MAX_METRIC_BYTES,
    MAX_METRIC_POINTS,
    MAX_POINT_ATTRIBUTES,
    MalformedError,
    cluster_and_stat,
    parse_metrics,
)
from meshwright.control_plane.telemetry.topology.histogram import MAX_BUCKETS
from tests.control_plane.telemetry.metric_exports import DELTA, attribute

CLUSTER = "envoy.cluster_name"
CODE = "envoy.response_code_class"
NO_CLUSTER = {CLUSTER: ""}


def histogram(
    *,
    bounds: Iterable[float] = (),
    counts: Iterable[int] = (),
    attributes: Iterable[KeyValue] = (),
    points: int = 1,
) -> Metric:
    """A delta histogram of a cluster."""
    metric = Metric(name="cluster.orders.upstream_rq_time")
    metric.histogram.aggregation_temporality = DELTA
    for _ in range(points):
        metric.histogram.data_points.add(explicit_bounds=bounds, bucket_counts=counts, attributes=attributes)
    return metric


@pytest.mark.parametrize(
    ("name", "attributes", "expected"),
    [
        ("cluster.grpc", {CLUSTER: "orders_grpc", "mesh.grpc_status": "14"}, ("orders:grpc", "grpc.14")),
        ("cluster.grpc.14", {CLUSTER: "orders_grpc"}, ("orders:grpc", "grpc.14")),
        ("cluster.orders_grpc/v2.grpc.14", {}, ("orders:grpc/v2", "grpc.14")),
        ("cluster.upstream_rq_xx", {CLUSTER: "orders", CODE: "5"}, ("orders", "upstream_rq_5xx")),
        ("cluster.orders.upstream_rq_5xx", {}, ("orders", "upstream_rq_5xx")),
        (
            "mesh.local_replies",
            {CLUSTER: "orders", "envoy.response_code": "503", "mesh.flags": "FI"},
            ("orders", "local.failed"),
        ),
        (
            "mesh.local_replies",
            {CLUSTER: "orders", "envoy.response_code": "404", "mesh.flags": "FI"},
            ("orders", "local.ok"),
        ),
        (
            "mesh.local_replies",
            {**NO_CLUSTER, "mesh.service": "orders", "envoy.response_code": "500"},
            ("orders", "local.failed"),
        ),
        (
            "mesh.local_replies",
            {CLUSTER: "/blackhole", "mesh.service": "orders", "envoy.response_code": "503"},
            ("orders", "local.failed"),
        ),
        (
            "mesh.local_replies",
            {**NO_CLUSTER, "mesh.service": "orders", "envoy.response_code": "404", "mesh.flags": "NR"},
            ("orders", "local.failed"),
        ),
        (
            "mesh.local_replies",
            {**NO_CLUSTER, "mesh.service": "", "envoy.response_code": "404", "mesh.flags": "NR"},
            ("/unrouted", "local.refused"),
        ),
        (
            "mesh.local_replies",
            {**NO_CLUSTER, "mesh.service": "", "envoy.response_code": "500"},
            ("/unrouted", "local.failed"),
        ),
        (
            "mesh.local_replies",
            {**NO_CLUSTER, "mesh.service": "orders", "envoy.response_code": "403"},
            ("orders", "local.refused"),
        ),
        (
            "mesh.local_replies",
            {
                **NO_CLUSTER,
                "mesh.service": "orders:grpc",
                "envoy.response_code": "200",
                "mesh.grpc_status": "2",
            },
            ("orders:grpc", "local.failed"),
        ),
        (
            "mesh.local_replies",
            {
                CLUSTER: "orders:grpc",
                "envoy.response_code": "200",
                "mesh.grpc_status": "14",
                "mesh.flags": "FI",
            },
            None,
        ),
        ("mesh.wait_time", {CLUSTER: "orders", "mesh.flags": "DI"}, ("orders", "delayed")),
        ("mesh.wait_time", {CLUSTER: "orders", "mesh.flags": "DI,UT"}, ("orders", "wait")),
        (
            "http.downstream_rq_xx",
            {"envoy.http_conn_manager_prefix": "inbound", CODE: "5"},
            (INBOUND, "downstream_rq_5xx"),
        ),
        ("server.uptime", {}, None),
    ],
)
def test_cluster_and_stat_are_read_from_name_and_attributes(
    name: str, attributes: dict[str, str], expected: tuple[str, str] | None
) -> None:
    assert cluster_and_stat(name, attributes) == expected


@pytest.mark.parametrize(
    "metric",
    [
        histogram(bounds=range(MAX_BUCKETS), counts=[1] * (MAX_BUCKETS + 1)),
        histogram(attributes=[attribute("a", "b")] * (MAX_POINT_ATTRIBUTES + 1)),
        histogram(points=MAX_METRIC_POINTS + 1),
        histogram(bounds=[2, 1], counts=[1, 1, 1]),
        histogram(attributes=[attribute("a", "b" * MAX_METRIC_BYTES)]),
    ],
    ids=["buckets", "attributes", "points", "bounds", "bytes"],
)
def test_a_metric_beyond_a_limit_is_malformed(metric: Metric) -> None:
    scope = otlp.encode_scope([metric.SerializeToString()])
    body = otlp.encode_export(otlp.encode_attributes({"service.name": "orders"}), [scope])
    (node,) = [node for node in parse_metrics(body) if node is not None]
    with pytest.raises(MalformedError):
        list(node.points)
