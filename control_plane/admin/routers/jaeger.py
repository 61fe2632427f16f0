"""Jaeger's query API over the traces that are kept, for its UI and for whatever else reads it.

The shapes are those of Jaeger's `/api` (its "Internal HTTP JSON", which Grafana reads too); fields are spelt
as there. Errors have this API's own form. Times are microseconds, IDs hexadecimal.
"""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field

from meshwright.control_plane.admin.context import AdminContext
from meshwright.control_plane.admin.route import NoParams, RequestParams, Route
from meshwright.control_plane.admin.routers.traces import ID_DIGITS, MAX_TRACES
from meshwright.control_plane.api.models.base import ApiModel
from meshwright.control_plane.api.models.traces import Span, Trace, TraceQuery
from meshwright.control_plane.api.spiffe import NAME_PATTERN
from meshwright.control_plane.errors import NotFoundError

PREFIX = "/api"

_DURATION = r"^[0-9]{1,9}(\.[0-9]{1,9})?(us|µs|ms|s|m|h)$"
_TAGS = r'^( *\{ *("error" *: *"?true"? *)?\} *)?$'
_UNITS = {"us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9}
_MICROSECONDS = 1e6
_LATEST = 9_223_372_036_854_775
"""Microseconds that 63 bits of nanoseconds hold."""


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


class JaegerServiceParams(RequestParams):
    service: str = Field(pattern=f"^{NAME_PATTERN}$")


class JaegerSearchParams(RequestParams):
    """Jaeger's search."""

    service: str = Field(pattern=f"^{NAME_PATTERN}$", description="Whose span it is.")
    operation: str = Field("", max_length=200)
    start: int = Field(0, ge=0, le=_LATEST, description="Microseconds since the epoch.")
    end: int = Field(0, ge=0, le=_LATEST, description="Microseconds since the epoch; 0: now.")
    minDuration: str = Field("", pattern=f"^$|{_DURATION}", description="As 1.2s, 100ms, 500us.")
    maxDuration: str = Field("", pattern=f"^$|{_DURATION}")
    tags: str = Field(
        "", max_length=1000, description='Empty or {"error": "true"}: no other is searched for.'
    )
    lookback: str = Field("", max_length=20, description="Not looked at: start and end say it.")
    limit: int = Field(20, ge=1, le=MAX_TRACES)


class JaegerTraceParams(RequestParams):
    id: str = Field(pattern=r"^[0-9a-fA-F]{1,32}$", description="Zeros in front may be left out.")


class JaegerDependencyParams(RequestParams):
    endTs: int = Field(0, ge=0, le=_LATEST // 1000, description="Milliseconds since the epoch; 0: now.")
    lookback: int = Field(0, ge=0, le=_LATEST // 1000, description="Milliseconds before endTs; 0: all.")


async def services(mesh: AdminContext, _params: NoParams, _body: object) -> JaegerNames:
    """The services and gateways that have sent spans."""
    names = await mesh.traces.services()
    return JaegerNames(data=names, total=len(names))


async def operations(mesh: AdminContext, params: JaegerServiceParams, _body: object) -> JaegerNames:
    """The names of a service's spans."""
    names = await mesh.traces.operations(params.service)
    return JaegerNames(data=names, total=len(names))


async def find(mesh: AdminContext, params: JaegerSearchParams, _body: object) -> JaegerTraces:
    """Traces that have a span as described, newest first, whole."""
    wanted = TraceQuery(
        service=params.service,
        operation=params.operation,
        min_duration=_nanoseconds(params.minDuration),
        max_duration=_nanoseconds(params.maxDuration),
        errors="error" in params.tags,
        start=params.start * 1000,
        end=params.end * 1000,
    )
    found = []
    async for one in mesh.traces.search_full(wanted, params.limit):
        found.append(to_jaeger(one))
        await mesh.sleep(0)
    return JaegerTraces(data=tuple(found), limit=params.limit)


async def get(mesh: AdminContext, params: JaegerTraceParams, _body: object) -> JaegerTraces:
    """One trace."""
    found = await mesh.traces.get(params.id.lower().zfill(ID_DIGITS))
    if found is None:
        raise NotFoundError("trace not found")
    return JaegerTraces(data=(to_jaeger(found),))


async def dependencies(
    mesh: AdminContext, params: JaegerDependencyParams, _body: object
) -> JaegerDependencies:
    """Who called whom how often, by the traces of that time."""
    end = params.endTs * 1_000_000
    start = max(0, end - params.lookback * 1_000_000) if end and params.lookback else 0
    found = await mesh.traces.dependencies(start, end)
    data = (JaegerDependency(parent=one.caller, child=one.callee, callCount=one.count) for one in found)
    return JaegerDependencies(data=tuple(data))


def to_jaeger(trace: Trace) -> JaegerTrace:
    """A trace as Jaeger writes it; a process is one instance of a service."""
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


def _span(trace: str, span: Span, process: str) -> JaegerSpan:
    told = {key: value for key, value in span.attributes.items() if key != "error"}
    tags = [*_tags(told), JaegerTag(key="span.kind", value=span.kind)]
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
        traceID=trace,
        spanID=span.id,
        operationName=span.operation,
        references=(JaegerReference(traceID=trace, spanID=span.parent),) if span.parent else (),
        startTime=round(span.start * _MICROSECONDS),
        duration=round(span.duration * 1000),
        tags=tuple(tags),
        logs=tuple(logs),
        processID=process,
    )


def _tags(attributes: dict[str, str]) -> tuple[JaegerTag, ...]:
    return tuple(JaegerTag(key=key, value=value) for key, value in attributes.items())


def _nanoseconds(duration: str) -> int:
    found = re.fullmatch(r"([0-9.]+)(\D+)", duration)
    return round(float(found[1]) * _UNITS[found[2]]) if found else 0


ROUTES = (
    Route(
        "GET", "/services", "jaegerServices", "Services, as Jaeger", services, JaegerNames, prefix=PREFIX,
        read_only=True,
    ),
    Route(
        "GET", "/services/{service}/operations", "jaegerOperations", "Operations of a service, as Jaeger",
        operations, JaegerNames, params=JaegerServiceParams, prefix=PREFIX, read_only=True,
    ),
    Route(
        "GET", "/traces", "jaegerTraces", "Find traces, as Jaeger", find, JaegerTraces, params=JaegerSearchParams,
        prefix=PREFIX, read_only=True,
    ),
    Route(
        "GET", "/traces/{id}", "jaegerTrace", "One trace, as Jaeger", get, JaegerTraces, params=JaegerTraceParams,
        errors=(404,), prefix=PREFIX, read_only=True,
    ),
    Route(
        "GET", "/dependencies", "jaegerDependencies", "Who calls whom, as Jaeger", dependencies,
        JaegerDependencies, params=JaegerDependencyParams, prefix=PREFIX, read_only=True,
    ),
)  # fmt: skip
