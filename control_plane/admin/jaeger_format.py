"""Traces in the JSON format of Jaeger's query API ("Internal HTTP JSON", which Grafana also reads).

Field names are Jaeger's. Times and durations are microseconds, IDs hexadecimal.
"""

from __future__ import annotations

from typing import Literal

from meshwright.control_plane.api.models.base import ApiModel
from meshwright.control_plane.api.models.traces import Span, Trace

_MICROSECONDS = 1e6


class JaegerTag(ApiModel):
    key: str
    type: Literal["string", "bool", "int64"] = "string"
    value: str | bool | int


class JaegerReference(ApiModel):
    refType: Literal["CHILD_OF"] = "CHILD_OF"
    traceID: str
    spanID: str


class JaegerLog(ApiModel):
    timestamp: int
    fields: tuple[JaegerTag, ...]


class JaegerSpan(ApiModel):
    traceID: str
    spanID: str
    flags: int = 1
    operationName: str
    references: tuple[JaegerReference, ...] = ()
    startTime: int
    duration: int
    tags: tuple[JaegerTag, ...] = ()
    logs: tuple[JaegerLog, ...] = ()
    processID: str
    warnings: None = None


class JaegerProcess(ApiModel):
    serviceName: str
    tags: tuple[JaegerTag, ...] = ()


class JaegerTrace(ApiModel):
    traceID: str
    spans: tuple[JaegerSpan, ...]
    processes: dict[str, JaegerProcess]
    warnings: None = None


class JaegerDependency(ApiModel):
    parent: str
    child: str
    callCount: int


class JaegerReply(ApiModel):
    total: int = 0
    limit: int = 0
    offset: int = 0
    errors: None = None


class JaegerNames(JaegerReply):
    data: tuple[str, ...]


class JaegerTraces(JaegerReply):
    data: tuple[JaegerTrace, ...]


class JaegerDependencies(JaegerReply):
    data: tuple[JaegerDependency, ...]


def to_jaeger(trace: Trace) -> JaegerTrace:
    """A trace in Jaeger's format; each instance of a service is a process."""
    processes: dict[tuple[str, str], str] = {}
    for span in trace.tree:
        processes.setdefault((span.service, span.instance), f"p{len(processes) + 1}")
    return JaegerTrace(
        traceID=trace.id,
        spans=tuple(_span(trace.id, span, processes[span.service, span.instance]) for span in trace.tree),
        processes={
            key: JaegerProcess(serviceName=service, tags=_tags({"service.instance.id": instance}))
            for (service, instance), key in processes.items()
        },
    )


def _span(trace_id: str, span: Span, process: str) -> JaegerSpan:
    attributes = {key: value for key, value in span.attributes.items() if key != "error"}
    tags = [*_tags(attributes), JaegerTag(key="span.kind", value=span.kind)]
    if span.error:
        tags.append(JaegerTag(key="error", type="bool", value=True))
    if span.message:
        tags.append(JaegerTag(key="otel.status_description", value=span.message))
    logs = (
        JaegerLog(
            timestamp=round(event.time * _MICROSECONDS),
            fields=(JaegerTag(key="event", value=event.name), *_tags(event.attributes)),
        )
        for event in span.events
    )
    return JaegerSpan(
        traceID=trace_id,
        spanID=span.id,
        operationName=span.operation,
        references=(JaegerReference(traceID=trace_id, spanID=span.parent),) if span.parent else (),
        startTime=round(span.start * _MICROSECONDS),
        duration=round(span.duration * 1000),
        tags=tuple(tags),
        logs=tuple(logs),
        processID=process,
    )


def _tags(attributes: dict[str, str]) -> tuple[JaegerTag, ...]:
    return tuple(JaegerTag(key=key, value=value) for key, value in attributes.items())
