"""OTLP exports of metrics as the OpenTelemetry sink of Envoy sends them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

BOUNDS = (0.5, 1, 2, 5, 10, 50, 100, 1000)
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
CODE = "envoy.response_code_class"
LISTENER = "envoy.http_conn_manager_prefix"
STATUS = "mesh.grpc_status"

Stats = Mapping[str, float | Sequence[int]]
"""Envoy's statistic → delta, or counts of buckets. `upstream_rq_5xx` is sent with its class as an attribute,
`grpc.14` with its status.

The cluster `/inbound` stands for responses of the inbound listener, by class ("5"). `local 503 FI` are
responses of the proxy itself by status, flags and gRPC status, `wait DI` durations by flags; both of a
cluster, or of no cluster but the virtual host of a service: `of orders`.
"""

REPLY_TAGS = ("envoy.response_code", "mesh.flags", "mesh.grpc_status")
"""Tags in the order of the words of `local 503 FI`.
"""


def attribute(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def metrics_export(
    service: str, node: str, clusters: Mapping[str, Stats], at: float = 2.0, seconds: float = 2.0
) -> bytes:
    """One flush; `at` is the sender's clock in seconds."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.extend(
        [attribute("service.name", service), attribute("service.instance.id", node)]
    )
    scope = resource.scope_metrics.add()
    for cluster, stats in clusters.items():
        for stat, value in stats.items():
            scope.metrics.append(metric(cluster, stat, value, at, seconds))
    return request.SerializeToString()


def _destination(cluster: str) -> dict[str, str]:
    if not cluster.startswith("of "):
        return {"envoy.cluster_name": cluster}
    return {"envoy.cluster_name": "", "mesh.service": cluster.removeprefix("of ").strip("-")}


def metric(cluster: str, stat: str, value: float | Sequence[int], at: float, seconds: float) -> Metric:
    if cluster == "/inbound":
        return counter("http.downstream_rq_xx", {LISTENER: "inbound", CODE: stat}, value, at, seconds)
    if stat.startswith("local "):
        words = [word.strip("-") for word in stat.split()[1:]]
        values = {**_destination(cluster), **dict(zip(REPLY_TAGS, words, strict=False))}
        return counter("mesh.local_replies", values, value, at, seconds)
    attributes = [attribute("envoy.cluster_name", cluster.replace(":", "_"))]
    if stat.startswith("wait "):
        tags = {**_destination(cluster), "mesh.flags": stat.removeprefix("wait ")}
        attributes = [attribute(name, text) for name, text in tags.items()]
    if stat.startswith("upstream_rq_") and stat.endswith("xx") and stat[-3].isdigit():
        attributes.append(attribute(CODE, stat[-3]))
        stat = "upstream_rq_xx"
    elif stat.startswith("grpc."):
        attributes.append(attribute(STATUS, stat.removeprefix("grpc.")))
        stat = "grpc"
    new_metric = Metric(name="mesh.wait_time" if stat.startswith("wait ") else f"cluster.{stat}")
    if isinstance(value, Sequence):
        new_metric.histogram.aggregation_temporality = DELTA
        histogram = new_metric.histogram.data_points.add(
            count=sum(value), explicit_bounds=BOUNDS, bucket_counts=value, attributes=attributes
        )
        histogram.start_time_unix_nano, histogram.time_unix_nano = _times(at, seconds)
        return new_metric
    if stat.startswith(("membership", "outlier")) or stat.endswith("_active"):
        point = new_metric.gauge.data_points.add(as_int=int(value), attributes=attributes)
    else:
        new_metric.sum.aggregation_temporality, new_metric.sum.is_monotonic = DELTA, True
        point = new_metric.sum.data_points.add(as_int=int(value), attributes=attributes)
    point.start_time_unix_nano, point.time_unix_nano = _times(at, seconds)
    return new_metric


def counter(
    name: str, attributes: Mapping[str, str], value: float | Sequence[int], at: float, seconds: float
) -> Metric:
    """A counter whose name does not contain a cluster."""
    assert not isinstance(value, Sequence)
    new_metric = Metric(name=name)
    new_metric.sum.aggregation_temporality, new_metric.sum.is_monotonic = DELTA, True
    pairs = [attribute(key, text) for key, text in attributes.items()]
    point = new_metric.sum.data_points.add(as_int=int(value), attributes=pairs)
    point.start_time_unix_nano, point.time_unix_nano = _times(at, seconds)
    return new_metric


def _times(at: float, seconds: float) -> tuple[int, int]:
    return int((1e9 + at - seconds) * 1e9), int((1e9 + at) * 1e9)
