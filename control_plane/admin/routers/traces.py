"""Routes of traces: find them, and read one."""

from __future__ import annotations

from datetime import timedelta

from pydantic import ConfigDict, Field

from meshwright.control_plane.admin.context import AdminContext
from meshwright.control_plane.admin.route import RequestParams, Route
from meshwright.control_plane.api.models.traces import Trace, TraceList, TraceQuery
from meshwright.control_plane.errors import InputError, NotFoundError
from meshwright.control_plane.policies.duration import Duration

MAX_TRACES = 500
"""Traces in one answer: half a megabyte of JSON."""

ID_DIGITS = 32


class TracesParams(RequestParams):
    """One span of a trace must meet all of these; without any, every trace is found."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=False)

    service: str = Field("", max_length=63, description="The service or gateway whose span it is.")
    operation: str = Field("", max_length=200, description="The span's name, whole.")
    min_duration: Duration | None = Field(
        None, alias="minDuration", description="How long the span took at least."
    )
    errors: bool = Field(False, description="Only spans that failed.")
    limit: int = Field(20, ge=1, le=MAX_TRACES, description="Traces at most.")


class TraceParams(RequestParams):
    id: str = Field(
        pattern=r"^[0-9a-f]{4,32}$", description="The trace's 32 hexadecimal digits, or the first 4 or more."
    )


async def traces(mesh: AdminContext, params: TracesParams, _body: object) -> TraceList:
    """Traces that have a span as described, newest first."""
    wanted = TraceQuery(
        service=params.service,
        operation=params.operation,
        min_duration=(params.min_duration or timedelta(0)) // timedelta(microseconds=1) * 1000,
        errors=params.errors,
    )
    return TraceList(traces=await mesh.traces.search(wanted, params.limit))


async def trace(mesh: AdminContext, params: TraceParams, _body: object) -> Trace:
    """A trace with its spans as a tree."""
    named = await mesh.traces.ids_with_prefix(params.id, 2) if len(params.id) < ID_DIGITS else (params.id,)
    if len(named) > 1:
        raise InputError(f"trace {params.id}: more than one begins so: give more digits")
    found = await mesh.traces.get(named[0]) if named else None
    if found is None:
        raise NotFoundError(f"no such trace: {params.id}: it is too old, or was never sampled")
    return found


ROUTES = (
    Route("GET", "/traces", "traces", "Find traces", traces, TraceList, params=TracesParams, read_only=True),
    Route(
        "GET", "/traces/{id}", "trace", "One trace", trace, Trace, params=TraceParams, errors=(404,),
        read_only=True,
    ),
)  # fmt: skip
