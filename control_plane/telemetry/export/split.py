"""Splits an export into chunks that a collector can accept, one for each resource.

Chunks of many senders are sent together, so one invalid chunk would spoil the others. Resources of another
service and invalid ones are skipped here; the signal's own handler counts them.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from meshwright.control_plane.telemetry.export.queue import ResourceChunk
from meshwright.control_plane.telemetry.ingest import otlp
from meshwright.control_plane.telemetry.ingest.queue import Signal

MAX_ITEM_BYTES = 256 * 1024
"""Size of one span, metric or log record. A resource with a larger one is not exported."""

CHECKS_PER_STEP = 256
"""Data points, links or exemplars that are checked in one step."""

_NO_ID = (0, 0)
_ID_LENGTHS = ((16, 8), _NO_ID, (16, 0))
# Valid lengths of a trace ID and a span ID. A collector rejects the whole export for others.


class _HasIds(Protocol):
    """A message that names a span."""

    @property
    def trace_id(self) -> bytes: ...
    @property
    def span_id(self) -> bytes: ...


@dataclass(slots=True)
class Oversized:
    """The number of items of a resource that is not exported because one of them is too large."""

    count: int


def split(
    signal: Signal, service: str, body: bytes, now: float
) -> Iterator[ResourceChunk | Oversized | None]:
    """The chunks of an export of `service`; None after each step without one. Never raises."""
    try:
        for resource in otlp.read_export(body):
            missing = None if resource is None else _missing_attributes(resource.attributes, service)
            if resource is None or missing is None:
                yield None
            else:
                yield from _chunk(signal, resource, missing, now)
    except (ValueError, DecodeError):
        return


def _missing_attributes(attributes: Mapping[str, str], service: str) -> dict[str, str] | None:
    """Attributes to add so that the resource names its sender as others do; None if it is another service's.

    Envoy's access logs use attribute names of their own.
    """
    if "service.name" in attributes:
        return {} if attributes["service.name"] == service else None
    if attributes.get("cluster_name") != service:
        return None
    return {"service.name": service, "service.instance.id": attributes.get("node_name", "")}


def _chunk(
    signal: Signal, resource: otlp.ResourceRecords, missing: Mapping[str, str], now: float
) -> Iterator[ResourceChunk | Oversized | None]:
    count, is_oversized = 0, False
    str(resource.schema_url, "utf-8")
    for scope in resource.scopes():
        yield None
        if max(len(scope.scope), len(scope.schema_url)) > MAX_ITEM_BYTES:
            is_oversized = True
        else:
            InstrumentationScope.FromString(scope.scope)
            str(scope.schema_url, "utf-8")
        for record in scope.records:
            yield None
            if len(record) > MAX_ITEM_BYTES:
                is_oversized = True
                count += 1
            else:
                count += yield from _count_items(signal, record)
    if is_oversized:
        yield Oversized(count)
    elif count:
        attributes = resource.encoded + (otlp.encode_attributes(missing) if missing else b"")
        body = otlp.encode_export(attributes, resource.encoded_scopes, resource.schema_url)
        yield ResourceChunk(body, count, now)


def _count_items(signal: Signal, record: bytes) -> Generator[None, None, int]:
    """Check a record; returns how many items it counts for (a metric for its data points).

    Yields between steps. Raises ValueError and DecodeError for an invalid record.
    """
    if signal == "traces":
        span = Span.FromString(record)
        if len(span.trace_id) != 16 or len(span.parent_span_id) not in {0, 8}:
            raise ValueError("not the IDs of a span")
        yield from _check_ids(chain([span], span.links))
        return 1
    if signal == "logs":
        yield from _check_ids([LogRecord.FromString(record)])
        return 1
    metric = Metric.FromString(record)
    kind = metric.WhichOneof("data")
    points = getattr(metric, kind).data_points if kind else ()
    if kind != "summary":
        for number, point in enumerate(points, 1):
            if number % CHECKS_PER_STEP == 0:
                yield
            yield from _check_ids(point.exemplars)
    return len(points)


def _check_ids(messages: Iterable[_HasIds]) -> Iterator[None]:
    """Check the IDs of messages; yields between steps. Raises ValueError."""
    for number, message in enumerate(messages, 1):
        if number % CHECKS_PER_STEP == 0:
            yield
        if (len(message.trace_id), len(message.span_id)) not in _ID_LENGTHS:
            raise ValueError("not the IDs of a span")
