"""Exports that any enrolled sidecar may send: up to 1 MiB that unfolds into as much work as possible."""

from __future__ import annotations

import struct
from collections.abc import Callable

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from meshwright.control_plane.telemetry.export.split import MAX_ITEM_BYTES
from meshwright.control_plane.telemetry.ingest.envoy_stats import MAX_METRIC_BYTES
from meshwright.control_plane.telemetry.ingest.otlp import MAX_RESOURCE_BYTES
from meshwright.control_plane.telemetry.ingest.queue import MAX_MESSAGE_BYTES, Signal
from meshwright.control_plane.telemetry.traces.span import MAX_SPAN_BYTES
from tests.control_plane.telemetry.ingest.wire_format import field, repeated, varint

SIZE = MAX_MESSAGE_BYTES - 1024
"""Leaves room for what surrounds the repeated part."""

SENDER = "web"
"""The service whose certificate must send these exports; others would be dropped as foreign."""

IDS = field(1, bytes(15) + b"\x07") + field(2, bytes(7) + b"\x07")
"""Trace and span ID of a span."""


def _resource() -> bytes:
    """The resource of SENDER, as a field of ResourceSpans and its counterparts."""
    attributes = {"service.name": SENDER, "service.instance.id": "web-1", "cluster_name": SENDER}
    pairs = [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in attributes.items()]
    return field(1, Resource(attributes=pairs).SerializeToString())


def _with_records(record: bytes, number: int = 2) -> bytes:
    """An export of SENDER that repeats one record in one scope."""
    return field(1, _resource() + field(2, repeated(number, record, SIZE)))


def _histogram(point: bytes) -> bytes:
    """A metric about a cluster with a delta histogram."""
    return field(1, b"cluster.upstream_rq_time") + field(9, field(1, point) + b"\x10\x01")


def _buckets() -> bytes:
    """A data point with as many buckets as a metric may hold: packed bounds and counts."""
    count = MAX_METRIC_BYTES // 17
    bounds = b"".join(struct.pack("<d", number) for number in range(count))
    counts = b"".join(struct.pack("<Q", 1) for _ in range(count + 1))
    attribute = KeyValue(key="envoy.cluster_name", value=AnyValue(string_value="catalog"))
    return _histogram(field(6, counts) + field(7, bounds) + field(9, attribute.SerializeToString()))


def _gauges() -> bytes:
    """Thousands of small metrics about different clusters."""
    metrics = []
    for number in range(12_000):
        attribute = KeyValue(key="envoy.cluster_name", value=AnyValue(string_value=f"c{number}"))
        point = field(7, attribute.SerializeToString()) + b"\x31" + struct.pack("<q", 1)
        metrics.append(field(2, field(1, b"cluster.membership_total") + field(5, field(1, point))))
    return field(1, _resource() + field(2, b"".join(metrics)))


HOSTILE: dict[str, tuple[Signal, Callable[[], bytes]]] = {
    "empty resources": ("traces", lambda: b"\x0a\x00" * (MAX_MESSAGE_BYTES // 2)),
    "empty scopes": ("traces", lambda: field(1, _resource() + repeated(2, b"", SIZE))),
    "empty spans": ("traces", lambda: _with_records(b"")),
    "empty metrics": ("metrics", lambda: _with_records(b"")),
    "empty log records": ("logs", lambda: _with_records(b"")),
    "spans of empty attributes": (
        "traces",
        lambda: _with_records(IDS + repeated(9, b"", MAX_SPAN_BYTES - 100)),
    ),
    "spans of empty links": ("traces", lambda: _with_records(IDS + repeated(13, b"", MAX_ITEM_BYTES - 100))),
    "resources of empty attributes": (
        "traces",
        lambda: repeated(1, field(1, repeated(1, b"", MAX_RESOURCE_BYTES - 100)), SIZE),
    ),
    "metrics of empty points": (
        "metrics",
        lambda: _with_records(_histogram(b"") + field(9, repeated(1, b"", MAX_METRIC_BYTES - 100))),
    ),
    "points of empty attributes": (
        "metrics",
        lambda: _with_records(_histogram(repeated(9, b"", MAX_METRIC_BYTES - 100))),
    ),
    "points of empty exemplars": (
        "metrics",
        lambda: _with_records(_histogram(repeated(8, b"", MAX_METRIC_BYTES - 100))),
    ),
    "huge histograms": ("metrics", lambda: _with_records(_buckets())),
    "many clusters": ("metrics", _gauges),
    "packed varints": (
        "metrics",
        lambda: field(1, field(2, field(2, field(9, field(1, field(6, bytes(SIZE))))))),
    ),
    "nested values": ("traces", lambda: _with_records(IDS + field(9, field(2, _nested(2_000))))),
    "unknown fields": ("traces", lambda: varint(15 << 3) + b"\x01" + (b"\x78\x01" * (SIZE // 2))),
}
"""Name → signal, and a function that builds the message."""


def _nested(depth: int) -> bytes:
    """An AnyValue of arrays in arrays."""
    value = b""
    for _ in range(depth):
        value = field(5, field(1, value))
    return value
