"""From the bytes of an OTLP export to spans, one at a time and no further than needed.

An export is cut into spans by its wire format alone, so that one of megabytes is read in slices; of each
span only what is searched for is decoded, and its bytes are kept. Attributes, events and the status message
are decoded when somebody reads the span.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from meshwright.control_plane.api.models.traces import SpanKind
from meshwright.control_plane.telemetry import wire
from meshwright.control_plane.telemetry.requests import failure, response_flags

MAX_SPAN_BYTES = 64 * 1024
"""Of one encoded span: twenty times what Envoy and the SDKs send; decoding is short."""

MAX_NAME_LENGTH = 200
"""Characters of an operation or instance that are kept."""

MAX_VALUE_LENGTH = 2048
"""Characters of an attribute that are told: the SDKs know no limit, and this one is read by people."""

MAX_ATTRIBUTES = 256
"""Attributes and events of a span that are told; the SDKs send at most 128 of each."""

_KINDS: tuple[SpanKind, ...] = ("internal", "internal", "server", "client", "producer", "consumer")
_FAILED = trace_pb2.Status.STATUS_CODE_ERROR

PROXY_ATTRIBUTE = ("component", "proxy")
"""The attribute that Envoy gives each of its spans (its tracing documentation)."""

_HTTP = ("http.status_code", "http.response.status_code")
_GRPC = ("grpc.status_code", "rpc.grpc.status_code")
# Where Envoy and where today's instrumentations say which status an answer had.
_STATUS_ATTRIBUTES = frozenset((*_HTTP, *_GRPC, PROXY_ATTRIBUTE[0], response_flags.SPAN_ATTRIBUTE))

DropReason = Literal["foreign", "oversized", "malformed"]
"""Why a span is not taken: of another service than its sender, too long, or not to be read."""


@dataclass(frozen=True, slots=True)
class StoredSpan:
    """A span as it is stored. `start` and `end` are nanoseconds since the epoch; IDs are bytes."""

    trace: bytes
    id: bytes
    parent: bytes
    service: str
    instance: str
    operation: str
    kind: SpanKind
    start: int
    end: int
    error: bool
    body: bytes

    @property
    def duration(self) -> int:
        """Nanoseconds."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class StoredSpanEvent:
    """An event of a span; `time` in nanoseconds since the epoch."""

    time: int
    name: str
    attributes: dict[str, str]


@dataclass(frozen=True, slots=True)
class SpanDetails:
    """What is decoded of a span when it is read."""

    message: str
    attributes: dict[str, str]
    events: tuple[StoredSpanEvent, ...]


def parse_spans(body: bytes, service: str = "") -> Iterator[StoredSpan | DropReason | None]:
    """The spans of an export that `service` sent, or why one is dropped; None where a step found nothing.

    Without `service` each part's is believed: so a control plane hands on what it took in itself (`write`).
    Every step is short. Nothing is raised: what follows a mistake in the bytes is given up as `malformed`.
    """
    try:
        for part in wire.parts(body):
            if part is None:
                yield None
                continue
            sender = service or part.attributes.get("service.name", "")
            known = sender == part.attributes.get("service.name")
            instance = sys.intern(part.attributes.get("service.instance.id", "")[:MAX_NAME_LENGTH])
            for span in part.items():
                if span is None:
                    yield None
                else:
                    yield _span(span, sender, instance) if known else "foreign"
    except (ValueError, DecodeError):
        yield "malformed"


def serialize_spans(rows: Iterable[StoredSpan]) -> bytes:
    """Spans as an export that `read` gives back."""
    senders: dict[tuple[str, str], list[bytes]] = {}
    for row in rows:
        senders.setdefault((row.service, row.instance), []).append(row.body)
    return b"".join(
        wire.part({"service.name": service, "service.instance.id": instance}, bodies)
        for (service, instance), bodies in senders.items()
    )


def _span(encoded: memoryview, service: str, instance: str) -> StoredSpan | DropReason:
    """One span; one without proper IDs is of no use in any trace."""
    if len(encoded) > MAX_SPAN_BYTES:
        return "oversized"
    body = bytes(encoded)
    try:
        span = trace_pb2.Span.FromString(body)
    except DecodeError:
        return "malformed"
    trace, id, parent = span.trace_id, span.span_id, span.parent_span_id
    if len(trace) != 16 or len(id) != 8 or not any(trace) or not any(id) or len(parent) not in {0, 8}:
        return "malformed"
    start = span.start_time_unix_nano
    return StoredSpan(
        trace=trace,
        id=id,
        parent=parent if any(parent) else b"",
        service=service,
        instance=instance,
        operation=sys.intern(span.name[:MAX_NAME_LENGTH]),
        kind=_KINDS[span.kind] if 0 <= span.kind < len(_KINDS) else "internal",
        start=start,
        end=max(start, span.end_time_unix_nano),
        error=_is_failed(span),
        body=body,
    )


def _is_failed(span: trace_pb2.Span) -> bool:
    """Whether the mesh calls it a failure (`outcome`); where no status is told, whether its sender does.

    Senders make an error of what they called when it was answered by 400 and above, as OpenTelemetry's
    conventions have it (https://opentelemetry.io/docs/specs/semconv/http/http-spans/#status), Envoy too.
    """
    told = {
        key: pair.value.string_value or _text(pair.value)
        for pair in span.attributes
        if (key := pair.key) in _STATUS_ATTRIBUTES
    }
    http = next((told[name] for name in _HTTP if name in told), "")
    grpc = next((told[name] for name in _GRPC if name in told), "")
    status = int(http) if http.isascii() and http.isdigit() and len(http) < 4 else 0
    if failure.is_failure(status, grpc, told.get(response_flags.SPAN_ATTRIBUTE, "")):
        return True
    if told.get(PROXY_ATTRIBUTE[0]) == PROXY_ATTRIBUTE[1] and http:
        return not status
    by_status = status >= 400 or grpc not in {"", "-", "0"}
    return not by_status and span.status.code == _FAILED


def decode_details(row: StoredSpan) -> SpanDetails:
    """The rest of a span."""
    span = trace_pb2.Span.FromString(row.body)
    events = tuple(
        StoredSpanEvent(
            event.time_unix_nano, event.name[:MAX_NAME_LENGTH], _attributes(event.attributes[:MAX_ATTRIBUTES])
        )
        for event in span.events[:MAX_ATTRIBUTES]
    )
    return SpanDetails(
        span.status.message[:MAX_VALUE_LENGTH], _attributes(span.attributes[:MAX_ATTRIBUTES]), events
    )


def _attributes(pairs: list[KeyValue]) -> dict[str, str]:
    return {pair.key[:MAX_NAME_LENGTH]: _text(pair.value)[:MAX_VALUE_LENGTH] for pair in pairs}


def _text(value: AnyValue) -> str:
    """A value as people read it; a list or mapping as protobuf prints it."""
    which = value.WhichOneof("value")
    if which is None:
        return ""
    inner = getattr(value, which)
    if isinstance(inner, bool):
        return "true" if inner else "false"
    if isinstance(inner, bytes):
        return inner.hex()
    return str(inner).strip()
