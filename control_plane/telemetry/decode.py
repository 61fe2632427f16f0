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

from control_plane.telemetry import wire
from control_plane.telemetry.histogram import Buckets, buckets

METRIC_BYTES = 256 * 1024
"""Of one metric with all its points: a histogram of 500 clusters."""

CLUSTER_NAME = "envoy.cluster_name"
CODE_CLASS = "envoy.response_code_class"
GRPC_STATUS = "mesh.grpc_status"
LISTENER = "envoy.http_conn_manager_prefix"
ANSWERED = "http.downstream_rq_xx"

INJECTED = "mesh.injected"
CODE = "envoy.response_code"

INBOUND = "/inbound"
"""Stands for the cluster of what a sidecar answered to callers of its service; no cluster is called so."""

_NAME = re.compile(r"(?:^|\.)cluster\.(.+)$")
_LONG = re.compile(
    r"(?P<cluster>.+?)\.(?P<stat>(?:upstream|ssl|outlier_detection|membership|grpc|circuit_breakers)[_.].+)"
)


class MalformedError(Exception):
    """A body that is no OTLP, or says what no Envoy of this mesh says."""


@dataclass(frozen=True, slots=True)
class Point:
    """One data point: a delta of a counter, the value of a gauge, or a delta of a histogram (`spread`).

    `seconds` is the length of the time that a delta covers, `end` its end in ns since the epoch, both by the
    sender's clock. `stat` is Envoy's name of it without the cluster: `upstream_rq_5xx`, `grpc.14`.
    """

    cluster: str
    stat: str
    value: float
    end: int
    seconds: float = 0.0
    spread: Buckets | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What one node told: the resource's attributes and an iterator of its points."""

    service: str
    node: str
    points: Iterator[Point | None]
    """None stands for a point that says nothing about a cluster, so that work can be divided."""


def metrics(body: bytes) -> Iterator[Told | None]:
    """Read an ExportMetricsServiceRequest; raises MalformedError, also while points are read.

    None stands for a step that found nothing, so that work can be divided.
    """
    try:
        for part in wire.parts(body):
            if part is None:
                yield None
                continue
            told = part.attributes
            yield Told(told.get("service.name", ""), told.get("service.instance.id", ""), _points(part))
    except (ValueError, DecodeError):
        raise MalformedError("not an ExportMetricsServiceRequest") from None


def statistic(name: str, attributes: Mapping[str, str]) -> tuple[str, str] | None:
    """The cluster (or INBOUND) and the statistic that a metric is about; None when about something else.

    Envoy writes `_` for `:` in the names of statistics; no name of the mesh has one.
    """
    if name == ANSWERED and attributes.get(LISTENER) == "inbound":
        return INBOUND, f"downstream_rq_{attributes.get(CODE_CLASS, '')}xx"
    if name == INJECTED:
        return attributes.get(CLUSTER_NAME, "").replace("_", ":"), f"injected.{attributes.get(CODE, '')}"
    found = _NAME.search(name)
    if not found:
        return None
    cluster, stat = attributes.get(CLUSTER_NAME, ""), found.group(1)
    if not cluster or stat.startswith(f"{cluster}."):
        parts = _LONG.fullmatch(stat)
        if not parts:
            return None
        cluster, stat = cluster or parts["cluster"], parts["stat"]
    if stat == "grpc":
        return cluster.replace("_", ":"), f"grpc.{attributes.get(GRPC_STATUS, '')}"
    code = attributes.get(CODE_CLASS, "")
    if code and stat.endswith("_xx"):
        stat = f"{stat.removesuffix('_xx')}_{code.removesuffix('xx')}xx"
    return cluster.replace("_", ":"), stat


def _points(part: wire.Part) -> Iterator[Point | None]:
    try:
        for item in part.items():
            if item is None:
                yield None
            elif len(item) > METRIC_BYTES:
                raise MalformedError(f"a metric of {len(item)} bytes")
            else:
                yield from _of_metric(Metric.FromString(bytes(item)))
    except (ValueError, DecodeError):
        raise MalformedError("no metrics") from None


def _of_metric(metric: Metric) -> Iterator[Point | None]:
    if metric.HasField("sum"):
        delta = metric.sum.aggregation_temporality == AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
        for each in metric.sum.data_points:
            yield _number(metric.name, each) if delta else None
    elif metric.HasField("gauge"):
        for each in metric.gauge.data_points:
            yield _number(metric.name, each)
    elif metric.HasField("histogram"):
        kind = metric.histogram.aggregation_temporality
        delta = kind == AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
        for one in metric.histogram.data_points:
            yield _histogram(metric.name, one) if delta else None
    else:
        yield None


def _number(name: str, point: NumberDataPoint) -> Point | None:
    about = statistic(name, _strings(point.attributes))
    if about is None:
        return None
    value = point.as_double if point.HasField("as_double") else float(point.as_int)
    if not 0 <= value < 1e15:
        raise MalformedError(f"{name}: {value} is no count")
    return Point(*about, value, point.time_unix_nano, _seconds(point))


def _histogram(name: str, point: HistogramDataPoint) -> Point | None:
    about = statistic(name, _strings(point.attributes))
    if about is None:
        return None
    try:
        spread = buckets(point.explicit_bounds, point.bucket_counts)
    except ValueError as error:
        raise MalformedError(f"{name}: {error}") from None
    return Point(*about, float(point.count), point.time_unix_nano, _seconds(point), spread)


def _seconds(point: NumberDataPoint | HistogramDataPoint) -> float:
    return (point.time_unix_nano - point.start_time_unix_nano) / 1e9 if point.start_time_unix_nano else 0.0


def _strings(attributes: Iterable[KeyValue]) -> dict[str, str]:
    return {one.key: one.value.string_value for one in attributes}
