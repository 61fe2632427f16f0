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

from control_plane.api.traced import SpanKind
from control_plane.telemetry import flags, outcome, wire

SPAN_BYTES = 64 * 1024
"""Of one encoded span: twenty times what Envoy and the SDKs send; decoding is short."""

NAME_LENGTH = 200
"""Characters of an operation or instance that are kept."""

VALUE_LENGTH = 2048
"""Characters of an attribute that are told: the SDKs know no limit, and this one is read by people."""

VALUES = 256
"""Attributes and events of a span that are told; the SDKs send at most 128 of each."""

_KINDS: tuple[SpanKind, ...] = ("internal", "internal", "server", "client", "producer", "consumer")
_FAILED = trace_pb2.Status.STATUS_CODE_ERROR

PROXY = ("component", "proxy")
"""The attribute that Envoy gives each of its spans (its tracing documentation)."""

_HTTP = ("http.status_code", "http.response.status_code")
_GRPC = ("grpc.status_code", "rpc.grpc.status_code")
# Where Envoy and where today's instrumentations say which status an answer had.
_TELLING = frozenset((*_HTTP, *_GRPC, PROXY[0], flags.ATTRIBUTE))

Drop = Literal["foreign", "oversized", "malformed"]
"""Why a span is not taken: of another service than its sender, too long, or not to be read."""


@dataclass(frozen=True, slots=True)
class Row:
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
class Happened:
    """An event of a span; `time` in nanoseconds since the epoch."""

    time: int
    name: str
    attributes: dict[str, str]


@dataclass(frozen=True, slots=True)
class Details:
    """What is decoded of a span when it is read."""

    message: str
    attributes: dict[str, str]
    events: tuple[Happened, ...]


def read(body: bytes, service: str = "") -> Iterator[Row | Drop | None]:
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
            instance = sys.intern(part.attributes.get("service.instance.id", "")[:NAME_LENGTH])
            for span in part.items():
                if span is None:
                    yield None
                else:
                    yield _span(span, sender, instance) if known else "foreign"
    except (ValueError, DecodeError):
        yield "malformed"


def write(rows: Iterable[Row]) -> bytes:
    """Spans as an export that `read` gives back."""
    senders: dict[tuple[str, str], list[bytes]] = {}
    for row in rows:
        senders.setdefault((row.service, row.instance), []).append(row.body)
    return b"".join(
        wire.part({"service.name": service, "service.instance.id": instance}, bodies)
        for (service, instance), bodies in senders.items()
    )


def _span(encoded: memoryview, service: str, instance: str) -> Row | Drop:
    """One span; one without proper IDs is of no use in any trace."""
    if len(encoded) > SPAN_BYTES:
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
    return Row(
        trace=trace,
        id=id,
        parent=parent if any(parent) else b"",
        service=service,
        instance=instance,
        operation=sys.intern(span.name[:NAME_LENGTH]),
        kind=_KINDS[span.kind] if 0 <= span.kind < len(_KINDS) else "internal",
        start=start,
        end=max(start, span.end_time_unix_nano),
        error=_failed(span),
        body=body,
    )


def _failed(span: trace_pb2.Span) -> bool:
    """Whether the mesh calls it a failure (`outcome`); where no status is told, whether its sender does.

    Senders make an error of what they called when it was answered by 400 and above, as OpenTelemetry's
    conventions have it (https://opentelemetry.io/docs/specs/semconv/http/http-spans/#status), Envoy too.
    """
    told = {
        key: pair.value.string_value or _text(pair.value)
        for pair in span.attributes
        if (key := pair.key) in _TELLING
    }
    http = next((told[name] for name in _HTTP if name in told), "")
    grpc = next((told[name] for name in _GRPC if name in told), "")
    status = int(http) if http.isascii() and http.isdigit() and len(http) < 4 else 0
    if outcome.failed(status, grpc, told.get(flags.ATTRIBUTE, "")):
        return True
    if told.get(PROXY[0]) == PROXY[1] and http:
        return not status
    by_status = status >= 400 or grpc not in {"", "-", "0"}
    return not by_status and span.status.code == _FAILED


def details(row: Row) -> Details:
    """The rest of a span."""
    span = trace_pb2.Span.FromString(row.body)
    events = tuple(
        Happened(event.time_unix_nano, event.name[:NAME_LENGTH], _attributes(event.attributes[:VALUES]))
        for event in span.events[:VALUES]
    )
    return Details(span.status.message[:VALUE_LENGTH], _attributes(span.attributes[:VALUES]), events)


def _attributes(pairs: list[KeyValue]) -> dict[str, str]:
    return {pair.key[:NAME_LENGTH]: _text(pair.value)[:VALUE_LENGTH] for pair in pairs}


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
