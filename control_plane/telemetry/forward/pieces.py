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

from control_plane.telemetry import wire
from control_plane.telemetry.forward.outbox import Piece
from control_plane.telemetry.intake import Signal

ITEM_BYTES = 256 * 1024
"""Of one span, metric or record; a part with a larger one is not passed on. Decoding takes its time."""

STEPS = 16
"""Fields that are read between two yields: well below a millisecond, unless they are large."""

_NO_ID = (0, 0)
_LENGTHS = ((16, 8), _NO_ID, (16, 0))
"""Bytes of a trace ID and a span ID that go together; collectors refuse a whole export for others."""


class _Named(Protocol):
    """What names a span."""

    @property
    def trace_id(self) -> bytes: ...
    @property
    def span_id(self) -> bytes: ...


@dataclass(slots=True)
class Oversized:
    """How many items a part has that is not passed on because one is too large."""

    count: int


def pieces(signal: Signal, service: str, body: bytes, now: float) -> Iterator[Piece | Oversized | None]:
    """The parts of an export of `service`; None after each short step of work. Raises nothing."""
    try:
        for part in wire.parts(body):
            added = None if part is None else _added(part.attributes, service)
            if part is None or added is None:
                yield None
            else:
                yield from _piece(signal, part, added, now)
    except (ValueError, DecodeError):
        return


def _added(told: Mapping[str, str], service: str) -> bytes | None:
    """What a part lacks to name its sender as all others do: access logs of Envoy have names of their own.

    None when it speaks for another.
    """
    if "service.name" in told:
        return b"" if told["service.name"] == service else None
    if told.get("cluster_name") != service:
        return None
    return wire.resource({"service.name": service, "service.instance.id": told.get("node_name", "")})


def _piece(signal: Signal, part: wire.Part, added: bytes, now: float) -> Iterator[Piece | Oversized | None]:
    count, fits = 0, True
    for step, (number, content) in enumerate(part.contents(), 1):
        if step % STEPS == 0:
            yield None
        if number and len(content) > ITEM_BYTES:
            fits = False
            count += number == wire.ITEM
        elif number == wire.ITEM:
            count += _items(signal, content)
        elif number == wire.SCOPE:
            InstrumentationScope.FromString(bytes(content))
        elif number == wire.SCHEMA:
            str(content, "utf-8")
    if not fits:
        yield Oversized(count)
    elif count:
        yield Piece(wire.length_delimited(bytes(part.body) + added if added else part.body), count, now)


def _items(signal: Signal, content: memoryview) -> int:
    """How many an item stands for: a metric for its data points. Raises ValueError and DecodeError."""
    if signal == "traces":
        span = Span.FromString(bytes(content))
        _check([span, *span.links])
        if len(span.trace_id) != 16 or len(span.parent_span_id) not in {0, 8}:
            raise ValueError("no ID of a span")
        return 1
    if signal == "logs":
        _check([LogRecord.FromString(bytes(content))])
        return 1
    metric = Metric.FromString(bytes(content))
    kind = metric.WhichOneof("data")
    points = getattr(metric, kind).data_points if kind else ()
    if kind != "summary":
        _check(one for point in points for one in point.exemplars)
    return len(points)


def _check(named: Iterable[_Named]) -> None:
    if any((len(one.trace_id), len(one.span_id)) not in _LENGTHS for one in named):
        raise ValueError("no IDs of a span")
