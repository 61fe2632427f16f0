"""What of an export is passed on: parts that speak for their sender and can be read. Pure.

Exports of many are joined, so a part that cannot be read would spoil those of others. What speaks for another
or cannot be read is counted where it is folded, and passed over here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from meshwright.control_plane.telemetry import wire
from meshwright.control_plane.telemetry.export.queue import ResourceChunk
from meshwright.control_plane.telemetry.ingest.queue import Signal

MAX_ITEM_BYTES = 256 * 1024
"""Of one span, metric or record; a part with a larger one is not passed on. Decoding takes its time."""

ITEMS_PER_STEP = 16
"""Fields that are read between two yields: well below a millisecond, unless they are large."""

_NO_ID = (0, 0)
_ID_LENGTHS = ((16, 8), _NO_ID, (16, 0))
"""Bytes of a trace ID and a span ID that go together; collectors refuse a whole export for others."""


class _HasIds(Protocol):
    """What names a span."""

    @property
    def trace_id(self) -> bytes: ...
    @property
    def span_id(self) -> bytes: ...


@dataclass(slots=True)
class Oversized:
    """How many items a part has that is not passed on because one is too large."""

    count: int


def split(
    signal: Signal, service: str, body: bytes, now: float
) -> Iterator[ResourceChunk | Oversized | None]:
    """The parts of an export of `service`; None after each short step of work. Raises nothing."""
    try:
        for part in wire.parts(body):
            added = None if part is None else _missing_attributes(part.attributes, service)
            if part is None or added is None:
                yield None
            else:
                yield from _chunk(signal, part, added, now)
    except (ValueError, DecodeError):
        return


def _missing_attributes(told: Mapping[str, str], service: str) -> bytes | None:
    """What a part lacks to name its sender as all others do: access logs of Envoy have names of their own.

    None when it speaks for another.
    """
    if "service.name" in told:
        return b"" if told["service.name"] == service else None
    if told.get("cluster_name") != service:
        return None
    return wire.resource({"service.name": service, "service.instance.id": told.get("node_name", "")})


def _chunk(
    signal: Signal, part: wire.Part, added: bytes, now: float
) -> Iterator[ResourceChunk | Oversized | None]:
    count, fits = 0, True
    for step, (number, content) in enumerate(part.contents(), 1):
        if step % ITEMS_PER_STEP == 0:
            yield None
        if number and len(content) > MAX_ITEM_BYTES:
            fits = False
            count += number == wire.ITEM
        elif number == wire.ITEM:
            count += _count_items(signal, content)
        elif number == wire.SCOPE:
            InstrumentationScope.FromString(bytes(content))
        elif number == wire.SCHEMA:
            str(content, "utf-8")
    if not fits:
        yield Oversized(count)
    elif count:
        yield ResourceChunk(
            wire.length_delimited(bytes(part.body) + added if added else part.body), count, now
        )


def _count_items(signal: Signal, content: memoryview) -> int:
    """How many an item stands for: a metric for its data points. Raises ValueError and DecodeError."""
    if signal == "traces":
        span = Span.FromString(bytes(content))
        _check_ids([span, *span.links])
        if len(span.trace_id) != 16 or len(span.parent_span_id) not in {0, 8}:
            raise ValueError("no ID of a span")
        return 1
    if signal == "logs":
        _check_ids([LogRecord.FromString(bytes(content))])
        return 1
    metric = Metric.FromString(bytes(content))
    kind = metric.WhichOneof("data")
    points = getattr(metric, kind).data_points if kind else ()
    if kind != "summary":
        _check_ids(one for point in points for one in point.exemplars)
    return len(points)


def _check_ids(named: Iterable[_HasIds]) -> None:
    if any((len(one.trace_id), len(one.span_id)) not in _ID_LENGTHS for one in named):
        raise ValueError("no IDs of a span")
