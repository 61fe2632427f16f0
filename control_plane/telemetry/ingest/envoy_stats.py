"""Envoy's statistics as its OpenTelemetry sink sends them: OTLP metrics → data points of upstream clusters.

Envoy sends the tags of a statistic either as attributes (`cluster.upstream_rq_xx` with `envoy.cluster_name`
and `envoy.response_code_class`) or as part of its name (`cluster.orders.upstream_rq_5xx`); both are read. A
gRPC status is a tag as well (see sidecar/bootstrap/telemetry.py). Statistics that are not about a cluster
are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
)

from meshwright.control_plane.telemetry.ingest import otlp
from meshwright.control_plane.telemetry.requests.failure import is_delayed_response, local_reply_outcome
from meshwright.control_plane.telemetry.topology.histogram import MAX_BUCKETS, Buckets, buckets

MAX_METRIC_BYTES = 256 * 1024
"""Size of one encoded metric with all its data points: a histogram of 500 clusters."""

MAX_METRIC_POINTS = 5_000
"""Data points of one metric: one for each cluster, or for each code of each cluster."""

MAX_POINT_ATTRIBUTES = 64
"""Attributes of one data point; Envoy sends at most five."""

CLUSTER_NAME = "envoy.cluster_name"
RESPONSE_CODE_CLASS = "envoy.response_code_class"
GRPC_STATUS = "mesh.grpc_status"
LISTENER_PREFIX = "envoy.http_conn_manager_prefix"
DOWNSTREAM_RESPONSES = "http.downstream_rq_xx"

LOCAL_REPLIES, WAIT_TIME = "mesh.local_replies", "mesh.wait_time"
"""Responses that a proxy made itself, and how long callers waited for what no instance responded to, or for
what a fault delayed: what no statistic of a cluster has (control_plane/core/local_replies.py)."""

RESPONSE_CODE = "envoy.response_code"
RESPONSE_FLAGS = "mesh.flags"
SERVICE = "mesh.service"

INBOUND = "/inbound"
"""The name used for responses of the inbound listener, in place of a cluster; no cluster has this name."""

UNROUTED = "/unrouted"
"""The name used for requests that a proxy answered itself and that were for no service it knows."""

_CLUSTER_PREFIX = re.compile(r"(?:^|\.)cluster\.(.+)$")
_DOTTED_NAME = re.compile(
    r"(?P<cluster>.+?)\.(?P<stat>(?:upstream|ssl|outlier_detection|membership|grpc|circuit_breakers)[_.].+)"
)


class MalformedError(Exception):
    """A body that is not OTLP, or that holds values no Envoy of this mesh sends."""


@dataclass(frozen=True, slots=True)
class StatPoint:
    """One data point: the delta of a counter, the value of a gauge, or the delta of a histogram (`buckets`).

    `seconds` is the time a delta covers, `end` its end in ns since the epoch, both by the sender's clock.
    `stat` is Envoy's name without the cluster: `upstream_rq_5xx`, `grpc.14`.
    """

    cluster: str
    stat: str
    value: float
    end: int
    seconds: float = 0.0
    buckets: Buckets | None = None


@dataclass(frozen=True, slots=True)
class NodeMetrics:
    """The metrics of one node. In `points` None stands for a data point that is not about a cluster."""

    service: str
    node: str
    points: Iterator[StatPoint | None]


def parse_metrics(body: bytes) -> Iterator[NodeMetrics | None]:
    """Parse an ExportMetricsServiceRequest; None after a step without a result.

    Raises MalformedError, also while points are read.
    """
    try:
        for resource in otlp.read_export(body):
            if resource is None:
                yield None
                continue
            attributes = resource.attributes
            yield NodeMetrics(
                attributes.get("service.name", ""),
                attributes.get("service.instance.id", ""),
                _points(resource),
            )
    except (ValueError, DecodeError):
        raise MalformedError("not an ExportMetricsServiceRequest") from None


def cluster_and_stat(name: str, attributes: Mapping[str, str]) -> tuple[str, str] | None:
    """The cluster (or INBOUND) and the statistic of a metric; None if it is not about a cluster.

    Envoy replaces `:` in names of statistics by `_`; no name in the mesh contains one.
    """
    if name == DOWNSTREAM_RESPONSES and attributes.get(LISTENER_PREFIX) == "inbound":
        return INBOUND, f"downstream_rq_{attributes.get(RESPONSE_CODE_CLASS, '')}xx"
    if name in (LOCAL_REPLIES, WAIT_TIME):
        return _local_reply(name, attributes)
    match = _CLUSTER_PREFIX.search(name)
    if not match:
        return None
    cluster, stat = attributes.get(CLUSTER_NAME, ""), match.group(1)
    if not cluster or stat.startswith(f"{cluster}."):
        dotted = _DOTTED_NAME.fullmatch(stat)
        if not dotted:
            return None
        cluster, stat = cluster or dotted["cluster"], dotted["stat"]
    if stat == "grpc":
        return cluster.replace("_", ":"), f"grpc.{attributes.get(GRPC_STATUS, '')}"
    code_class = attributes.get(RESPONSE_CODE_CLASS, "")
    if code_class and stat.endswith("_xx"):
        stat = f"{stat.removesuffix('_xx')}_{code_class.removesuffix('xx')}xx"
    return cluster.replace("_", ":"), stat


def _local_reply(name: str, attributes: Mapping[str, str]) -> tuple[str, str] | None:
    """The service that the caller meant, and `local.OUTCOME`, `wait` or `delayed`.

    gRPC calls with a cluster are among its gRPC statuses already.
    """
    # Envoy leaves a missing value empty.
    given = attributes.get(CLUSTER_NAME, "")
    cluster = attributes.get(SERVICE, "") if not given or given.startswith("/") else given
    cluster = cluster.replace("_", ":") or UNROUTED
    flags = frozenset(attributes.get(RESPONSE_FLAGS, "").split(","))
    if name == WAIT_TIME:
        return cluster, "delayed" if is_delayed_response(flags) else "wait"
    grpc_status = attributes.get(GRPC_STATUS, "")
    if grpc_status and cluster == given.replace("_", ":"):
        return None
    outcome = local_reply_outcome(
        attributes.get(RESPONSE_CODE, ""), grpc_status, flags, is_routed=cluster != UNROUTED
    )
    return cluster, f"local.{outcome}"


def _points(resource: otlp.ResourceRecords) -> Iterator[StatPoint | None]:
    try:
        for encoded in resource.records():
            if encoded is None:
                yield None
            elif len(encoded) > MAX_METRIC_BYTES:
                raise MalformedError(f"a metric of {len(encoded)} bytes")
            else:
                yield from _metric_points(Metric.FromString(encoded))
    except (ValueError, DecodeError):
        raise MalformedError("not metrics") from None


def _metric_points(metric: Metric) -> Iterator[StatPoint | None]:
    kind = metric.WhichOneof("data")
    if kind and len(getattr(metric, kind).data_points) > MAX_METRIC_POINTS:
        raise MalformedError(f"{metric.name}: more than {MAX_METRIC_POINTS} data points")
    if kind == "sum":
        is_delta = metric.sum.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
        for number in metric.sum.data_points:
            yield _number_point(metric.name, number) if is_delta else None
    elif kind == "gauge":
        for number in metric.gauge.data_points:
            yield _number_point(metric.name, number)
    elif kind == "histogram":
        temporality = metric.histogram.aggregation_temporality
        is_delta = temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
        for histogram in metric.histogram.data_points:
            yield _histogram_point(metric.name, histogram) if is_delta else None
    else:
        yield None


def _number_point(name: str, point: NumberDataPoint) -> StatPoint | None:
    source = cluster_and_stat(name, _string_attributes(name, point.attributes))
    if source is None:
        return None
    value = point.as_double if point.HasField("as_double") else float(point.as_int)
    if not 0 <= value < 1e15:
        raise MalformedError(f"{name}: {value} is not a count")
    return StatPoint(*source, value, point.time_unix_nano, _seconds(point))


def _histogram_point(name: str, point: HistogramDataPoint) -> StatPoint | None:
    source = cluster_and_stat(name, _string_attributes(name, point.attributes))
    if source is None:
        return None
    if len(point.bucket_counts) > MAX_BUCKETS:
        raise MalformedError(f"{name}: more than {MAX_BUCKETS} buckets")
    try:
        explicit = buckets(point.explicit_bounds, point.bucket_counts)
    except ValueError as error:
        raise MalformedError(f"{name}: {error}") from None
    return StatPoint(*source, float(point.count), point.time_unix_nano, _seconds(point), explicit)


def _seconds(point: NumberDataPoint | HistogramDataPoint) -> float:
    return (point.time_unix_nano - point.start_time_unix_nano) / 1e9 if point.start_time_unix_nano else 0.0


def _string_attributes(name: str, attributes: Sequence[KeyValue]) -> dict[str, str]:
    if len(attributes) > MAX_POINT_ATTRIBUTES:
        raise MalformedError(f"{name}: {len(attributes)} attributes")
    return {pair.key: pair.value.string_value for pair in attributes}
