"""Traces and their spans.

Times are epoch seconds by the sender's clock, durations milliseconds. IDs are hexadecimal: 32 digits for a
trace, 16 for a span (W3C Trace Context).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from meshwright.control_plane.api.models.base import ApiModel

SpanKind = Literal["internal", "server", "client", "producer", "consumer"]


class ResponseFlag(ApiModel):
    """One of Envoy's response flags, explained."""

    flag: str = Field(description="Envoy's short name, such as `UO`.")
    meaning: str = Field(description="One sentence.")
    kinds: tuple[str, ...] = Field((), description="Policy kinds that can cause it; empty: none.")


class SpanEvent(ApiModel):
    """An event within a span."""

    time: float
    name: str
    attributes: dict[str, str] = Field({}, description="Values as text.")


class Span(ApiModel):
    """One operation of a trace, reported by a service or by its sidecar."""

    id: str
    parent: str = Field("", description="The parent span; empty: a root. It may be missing from the trace.")
    depth: int = Field(0, ge=0, description="Depth in the trace's tree.")
    service: str = Field(description="The service or gateway that sent it, proven by its certificate.")
    instance: str = ""
    proxy: bool = Field(False, description="Whether Envoy reported it; false: the service itself did.")
    operation: str
    kind: SpanKind = "internal"
    start: float
    duration: float = Field(ge=0)
    error: bool = Field(
        False,
        description="Failed: 5xx, gRPC's UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE or DATA_LOSS, no "
        "response, or an Envoy response flag that means failure. Without a status: as the sender says.",
    )
    message: str = Field("", description="The sender's error message.")
    attempt: int = Field(0, ge=0, description="0: the first attempt; n: the nth retry of the request.")
    flags: tuple[ResponseFlag, ...] = ()
    attributes: dict[str, str] = Field({}, description="Values as text.")
    events: tuple[SpanEvent, ...] = ()


class ServiceSpanCount(ApiModel):
    """How many spans of a trace come from one service."""

    service: str
    spans: int
    errors: int = 0


class TraceSummary(ApiModel):
    """A trace in one line. Its root is the earliest span whose parent is not in the trace."""

    id: str
    service: str = Field(description="The root's service.")
    operation: str = Field(description="The root's operation.")
    request: str = Field("", description="The root's method and path, if Envoy reported it.")
    start: float
    duration: float = Field(ge=0, description="From the start of the first span to the end of the last.")
    spans: int
    errors: int = Field(0, description="Failed spans.")
    services: tuple[ServiceSpanCount, ...] = ()


class Trace(TraceSummary):
    """A trace with its spans. `tree` is in depth-first order."""

    tree: tuple[Span, ...] = ()
    dropped: int = Field(0, description="Spans that exceeded the limit.")


class TraceList(ApiModel):
    """Traces, newest first."""

    traces: tuple[TraceSummary, ...] = ()


class ServiceDependency(ApiModel):
    """`count` calls from `caller` to `callee` in the traces searched."""

    caller: str
    callee: str
    count: int


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """A search for traces: one span must match every field.

    Empty strings match any. `min_duration` and `max_duration` limit the span's duration, in nanoseconds (0:
    no limit). `start` and `end` limit the start of the trace's first span, in nanoseconds since the epoch (0:
    no limit).
    """

    service: str = ""
    operation: str = ""
    min_duration: int = 0
    max_duration: int = 0
    errors: bool = False
    start: int = 0
    end: int = 0
