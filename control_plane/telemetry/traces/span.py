"""Spans: OTLP → what is stored, and what is decoded when somebody reads one.

Only what searches need is decoded when a span arrives; its encoded bytes are stored with it. Attributes,
events and the status message are decoded when the span is read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from meshwright.control_plane.api.models.traces import SpanKind
from meshwright.control_plane.telemetry.ingest import otlp
from meshwright.control_plane.telemetry.ingest.otlp import DropReason
from meshwright.control_plane.telemetry.requests import response_flags
from meshwright.control_plane.telemetry.requests.failure import is_failure

MAX_SPAN_BYTES = 64 * 1024
"""Size of one encoded span: twenty times what Envoy and the SDKs send."""

MAX_NAME_LENGTH = 200
"""Characters kept of the name of an operation, instance, event or attribute."""

MAX_VALUE_LENGTH = 2048
"""Characters returned of an attribute's value. The SDKs have no limit."""

MAX_ATTRIBUTES = 256
"""Attributes and events returned of a span. The SDKs send at most 128 of each."""

_KINDS: tuple[SpanKind, ...] = ("internal", "internal", "server", "client", "producer", "consumer")

PROXY_ATTRIBUTE = ("component", "proxy")
"""The attribute that Envoy adds to each of its spans (Envoy's documentation, "Tracing")."""

_HTTP_STATUS = ("http.status_code", "http.response.status_code")
_GRPC_STATUS = ("grpc.status_code", "rpc.grpc.status_code")
# The attributes of the response status: Envoy's, and those of OpenTelemetry's semantic conventions.
_STATUS_ATTRIBUTES = frozenset(
    (*_HTTP_STATUS, *_GRPC_STATUS, PROXY_ATTRIBUTE[0], response_flags.SPAN_ATTRIBUTE)
)


@dataclass(frozen=True, slots=True)
class StoredSpan:
    """A span in the store. `start` and `end` are in ns since the epoch, IDs are bytes, `body` is encoded.

    `proxy`: a proxy sent it, not an app.
    """

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
    proxy: bool = False

    @property
    def duration(self) -> int:
        """Nanoseconds."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class StoredSpanEvent:
    """An event of a span; `time` in ns since the epoch."""

    time: int
    name: str
    attributes: dict[str, str]


@dataclass(frozen=True, slots=True)
class SpanDetails:
    """The parts of a span that are decoded when it is read."""

    message: str
    attributes: dict[str, str]
    events: tuple[StoredSpanEvent, ...]


def parse_spans(body: bytes, service: str = "") -> Iterator[StoredSpan | DropReason | None]:
    """Parse an export that `service` sent: spans, reasons why one is dropped, None after other steps.

    Without `service` the service of each resource is trusted and the number of records is not limited; that
    is for spans from another control plane (`serialize_spans`). Never raises: after invalid bytes it yields
    `malformed` and ends.
    """
    try:
        for resource in otlp.read_export(body, otlp.MAX_RECORDS if service else sys.maxsize):
            if resource is None:
                yield None
                continue
            sender = service or resource.attributes.get("service.name", "")
            is_own = sender == resource.attributes.get("service.name")
            instance = sys.intern(resource.attributes.get("service.instance.id", "")[:MAX_NAME_LENGTH])
            for encoded in resource.records():
                if encoded is None:
                    yield None
                else:
                    yield _parse_span(encoded, sender, instance) if is_own else "foreign"
    except otlp.TooManyRecordsError:
        yield "oversized"
    except (ValueError, DecodeError):
        yield "malformed"


def serialize_spans(spans: Iterable[StoredSpan]) -> bytes:
    """Spans as an export, for `parse_spans`."""
    by_sender: dict[tuple[str, str], list[bytes]] = {}
    for span in spans:
        by_sender.setdefault((span.service, span.instance), []).append(span.body)
    return b"".join(
        otlp.encode_export(
            otlp.encode_attributes({"service.name": service, "service.instance.id": instance}),
            [otlp.encode_scope(bodies)],
        )
        for (service, instance), bodies in by_sender.items()
    )


def decode_details(span: StoredSpan) -> SpanDetails:
    """Decode the rest of a span."""
    message = trace_pb2.Span.FromString(span.body)
    events = tuple(
        StoredSpanEvent(
            event.time_unix_nano,
            event.name[:MAX_NAME_LENGTH],
            _attributes(event.attributes[:MAX_ATTRIBUTES]),
        )
        for event in message.events[:MAX_ATTRIBUTES]
    )
    return SpanDetails(
        message.status.message[:MAX_VALUE_LENGTH], _attributes(message.attributes[:MAX_ATTRIBUTES]), events
    )


def _parse_span(body: bytes, service: str, instance: str) -> StoredSpan | DropReason:
    """One span. A span without valid IDs cannot be part of a trace."""
    if len(body) > MAX_SPAN_BYTES:
        return "oversized"
    try:
        span = trace_pb2.Span.FromString(body)
    except DecodeError:
        return "malformed"
    trace, id, parent = span.trace_id, span.span_id, span.parent_span_id
    if len(trace) != 16 or len(id) != 8 or not any(trace) or not any(id) or len(parent) not in {0, 8}:
        return "malformed"
    start = span.start_time_unix_nano
    attributes = _status_attributes(span)
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
        error=_is_failed(span, attributes),
        body=body,
        proxy=attributes.get(PROXY_ATTRIBUTE[0]) == PROXY_ATTRIBUTE[1],
    )


def _status_attributes(span: trace_pb2.Span) -> dict[str, str]:
    return {
        key: pair.value.string_value or _text(pair.value)
        for pair in span.attributes
        if (key := pair.key) in _STATUS_ATTRIBUTES
    }


def _is_failed(span: trace_pb2.Span, attributes: Mapping[str, str]) -> bool:
    """Whether the response is a failure (`is_failure`); without a status, whether the sender says so.

    Clients mark a span as an error for responses of 400 and above, as OpenTelemetry's conventions require
    (https://opentelemetry.io/docs/specs/semconv/http/http-spans/#status), as does Envoy. The mesh does not.
    """
    http = next((attributes[name] for name in _HTTP_STATUS if name in attributes), "")
    grpc = next((attributes[name] for name in _GRPC_STATUS if name in attributes), "")
    status = int(http) if http.isascii() and http.isdigit() and len(http) < 4 else 0
    if is_failure(status, grpc, attributes.get(response_flags.SPAN_ATTRIBUTE, "")):
        return True
    if attributes.get(PROXY_ATTRIBUTE[0]) == PROXY_ATTRIBUTE[1] and http:
        return not status
    is_client_error = status >= 400 or grpc not in {"", "-", "0"}
    return not is_client_error and span.status.code == trace_pb2.Status.STATUS_CODE_ERROR


def _attributes(pairs: list[KeyValue]) -> dict[str, str]:
    return {pair.key[:MAX_NAME_LENGTH]: _text(pair.value)[:MAX_VALUE_LENGTH] for pair in pairs}


def _text(value: AnyValue) -> str:
    """A value as text; a list or map as protobuf prints it."""
    which = value.WhichOneof("value")
    if which is None:
        return ""
    inner = getattr(value, which)
    if isinstance(inner, bool):
        return "true" if inner else "false"
    if isinstance(inner, bytes):
        return inner.hex()
    return str(inner).strip()
