"""What is seen of traces, as the admin API tells it.

Times are seconds since the epoch by the sender's clock, durations milliseconds. IDs are hexadecimal: 32
digits for a trace, 16 for a span (W3C Trace Context).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from meshwright.control_plane.api.models.base import ApiModel

SpanKind = Literal["internal", "server", "client", "producer", "consumer"]


class ResponseFlag(ApiModel):
    """One of Envoy's response flags in words."""

    flag: str = Field(description="Envoy's short name, as `UO`.")
    meaning: str = Field(description="One sentence.")
    kinds: tuple[str, ...] = Field((), description="The policy kinds that cause it; none: no policy does.")


class SpanEvent(ApiModel):
    """Something that happened while a span was open."""

    time: float
    name: str
    attributes: dict[str, str] = Field({}, description="Values as text.")


class Span(ApiModel):
    """One step of a trace, as the service that did it (or its sidecar) told it."""

    id: str
    parent: str = Field("", description="The span that caused it; empty: the first. It may be missing here.")
    depth: int = Field(0, ge=0, description="How deep it hangs in the tree of its trace.")
    service: str = Field(description="The service or gateway that sent it, proven by its certificate.")
    instance: str = ""
    proxy: bool = Field(False, description="Whether Envoy told it; else the service itself did.")
    operation: str
    kind: SpanKind = "internal"
    start: float
    duration: float = Field(ge=0)
    error: bool = Field(
        False,
        description="Failed: 5xx, gRPC's UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE or DATA_LOSS, no "
        "answer, or an Envoy's flag that is no success; without a status what the sender says.",
    )
    message: str = Field("", description="What the sender said of its error.")
    attempt: int = Field(0, ge=0, description="0: not tried again; n: the nth retry of its request.")
    flags: tuple[ResponseFlag, ...] = ()
    attributes: dict[str, str] = Field({}, description="Values as text.")
    events: tuple[SpanEvent, ...] = ()


class ServiceSpanCount(ApiModel):
    """How many spans of a trace are of one service."""

    service: str
    spans: int
    errors: int = 0


class TraceSummary(ApiModel):
    """A trace in one line; its root is the earliest span whose parent is not in it."""

    id: str
    service: str = Field(description="The root's service.")
    operation: str = Field(description="The root's operation.")
    request: str = Field("", description="The root's method and path, where Envoy told it.")
    start: float
    duration: float = Field(ge=0, description="From the first span's start to the last one's end.")
    spans: int
    errors: int = Field(0, description="Spans that failed.")
    services: tuple[ServiceSpanCount, ...] = ()


class Trace(TraceSummary):
    """A trace whole. `tree`: every span right after its parent or an elder sibling's last descendant."""

    tree: tuple[Span, ...] = ()
    dropped: int = Field(0, description="Spans of it that did not fit.")


class TraceList(ApiModel):
    """Traces found, newest first."""

    traces: tuple[TraceSummary, ...] = ()


class ServiceDependency(ApiModel):
    """`count` calls from `caller` to `callee` in the traces that were looked at."""

    caller: str
    callee: str
    count: int


@dataclass(frozen=True, slots=True)
class TraceQuery:
    """What traces to look for: one span must meet all of it.

    Empty strings: any. `min_duration` and `max_duration` of that span in nanoseconds (0: any). `start` and
    `end` bound the trace's first span, in nanoseconds since the epoch (0: any).
    """

    service: str = ""
    operation: str = ""
    min_duration: int = 0
    max_duration: int = 0
    errors: bool = False
    start: int = 0
    end: int = 0
