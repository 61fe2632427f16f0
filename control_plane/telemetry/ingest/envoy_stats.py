"""OTLP metrics as Envoy pushes them → points of clusters: which cluster, which statistic, how much. Pure.

Envoy names a statistic either with its tags as attributes (`cluster.upstream_rq_xx` with
`envoy.cluster_name` and `envoy.response_code_class`) or with all in one name
(`cluster.orders.upstream_rq_5xx`); both are read, and so is a gRPC status, which sidecar/telemetry.py makes a
tag of. What is not about a cluster is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
)

from meshwright.control_plane.telemetry import wire
from meshwright.control_plane.telemetry.topology.histogram import Buckets, buckets

MAX_METRIC_BYTES = 256 * 1024
"""Of one metric with all its points: a histogram of 500 clusters."""

CLUSTER_NAME = "envoy.cluster_name"
RESPONSE_CODE_CLASS = "envoy.response_code_class"
GRPC_STATUS = "mesh.grpc_status"
LISTENER_PREFIX = "envoy.http_conn_manager_prefix"
DOWNSTREAM_RESPONSES = "http.downstream_rq_xx"

INJECTED_FAULTS = "mesh.injected"
RESPONSE_CODE = "envoy.response_code"

INBOUND = "/inbound"
"""Stands for the cluster of what a sidecar answered to callers of its service; no cluster is called so."""

_CLUSTER_PREFIX = re.compile(r"(?:^|\.)cluster\.(.+)$")
_DOTTED_NAME = re.compile(
    r"(?P<cluster>.+?)\.(?P<stat>(?:upstream|ssl|outlier_detection|membership|grpc|circuit_breakers)[_.].+)"
)


class MalformedError(Exception):
    """A body that is no OTLP, or says what no Envoy of this mesh says."""


@dataclass(frozen=True, slots=True)
class StatPoint:
    """One data point: a delta of a counter, the value of a gauge, or a delta of a histogram (`spread`).

    `seconds` is the length of the time that a delta covers, `end` its end in ns since the epoch, both by the
    sender's clock. `stat` is Envoy's name of it without the cluster: `upstream_rq_5xx`, `grpc.14`.
    """

    cluster: str
    stat: str
    value: float
    end: int
    seconds: float = 0.0
    buckets: Buckets | None = None


@dataclass(frozen=True, slots=True)
class NodeMetrics:
    """What one node told: the resource's attributes and an iterator of its points."""

    service: str
    node: str
    points: Iterator[StatPoint | None]
    """None stands for a point that says nothing about a cluster, so that work can be divided."""


def parse_metrics(body: bytes) -> Iterator[NodeMetrics | None]:
    """Read an ExportMetricsServiceRequest; raises MalformedError, also while points are read.

    None stands for a step that found nothing, so that work can be divided.
    """
    try:
        for part in wire.parts(body):
            if part is None:
                yield None
                continue
            told = part.attributes
            yield NodeMetrics(
                told.get("service.name", ""), told.get("service.instance.id", ""), _points(part)
            )
    except (ValueError, DecodeError):
        raise MalformedError("not an ExportMetricsServiceRequest") from None


def cluster_and_stat(name: str, attributes: Mapping[str, str]) -> tuple[str, str] | None:
    """The cluster (or INBOUND) and the statistic that a metric is about; None when about something else.

    Envoy writes `_` for `:` in the names of statistics; no name of the mesh has one.
    """
    if name == DOWNSTREAM_RESPONSES and attributes.get(LISTENER_PREFIX) == "inbound":
        return INBOUND, f"downstream_rq_{attributes.get(RESPONSE_CODE_CLASS, '')}xx"
    if name == INJECTED_FAULTS:
        return attributes.get(CLUSTER_NAME, "").replace(
            "_", ":"
        ), f"injected.{attributes.get(RESPONSE_CODE, '')}"
    found = _CLUSTER_PREFIX.search(name)
    if not found:
        return None
    cluster, stat = attributes.get(CLUSTER_NAME, ""), found.group(1)
    if not cluster or stat.startswith(f"{cluster}."):
        parts = _DOTTED_NAME.fullmatch(stat)
        if not parts:
            return None
        cluster, stat = cluster or parts["cluster"], parts["stat"]
    if stat == "grpc":
        return cluster.replace("_", ":"), f"grpc.{attributes.get(GRPC_STATUS, '')}"
    code = attributes.get(RESPONSE_CODE_CLASS, "")
    if code and stat.endswith("_xx"):
        stat = f"{stat.removesuffix('_xx')}_{code.removesuffix('xx')}xx"
    return cluster.replace("_", ":"), stat


def _points(part: wire.Part) -> Iterator[StatPoint | None]:
    try:
        for item in part.items():
            if item is None:
                yield None
            elif len(item) > MAX_METRIC_BYTES:
                raise MalformedError(f"a metric of {len(item)} bytes")
            else:
                yield from _metric_points(Metric.FromString(bytes(item)))
    except (ValueError, DecodeError):
        raise MalformedError("no metrics") from None


def _metric_points(metric: Metric) -> Iterator[StatPoint | None]:
    if metric.HasField("sum"):
        delta = metric.sum.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
        for each in metric.sum.data_points:
            yield _number_point(metric.name, each) if delta else None
    elif metric.HasField("gauge"):
        for each in metric.gauge.data_points:
            yield _number_point(metric.name, each)
    elif metric.HasField("histogram"):
        kind = metric.histogram.aggregation_temporality
        delta = kind == AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
        for one in metric.histogram.data_points:
            yield _histogram_point(metric.name, one) if delta else None
    else:
        yield None


def _number_point(name: str, point: NumberDataPoint) -> StatPoint | None:
    about = cluster_and_stat(name, _string_attributes(point.attributes))
    if about is None:
        return None
    value = point.as_double if point.HasField("as_double") else float(point.as_int)
    if not 0 <= value < 1e15:
        raise MalformedError(f"{name}: {value} is no count")
    return StatPoint(*about, value, point.time_unix_nano, _seconds(point))


def _histogram_point(name: str, point: HistogramDataPoint) -> StatPoint | None:
    about = cluster_and_stat(name, _string_attributes(point.attributes))
    if about is None:
        return None
    try:
        spread = buckets(point.explicit_bounds, point.bucket_counts)
    except ValueError as error:
        raise MalformedError(f"{name}: {error}") from None
    return StatPoint(*about, float(point.count), point.time_unix_nano, _seconds(point), spread)


def _seconds(point: NumberDataPoint | HistogramDataPoint) -> float:
    return (point.time_unix_nano - point.start_time_unix_nano) / 1e9 if point.start_time_unix_nano else 0.0


def _string_attributes(attributes: Iterable[KeyValue]) -> dict[str, str]:
    return {one.key: one.value.string_value for one in attributes}
