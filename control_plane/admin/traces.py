"""Routes of traces: find them, and read one."""

from __future__ import annotations

from datetime import timedelta

from pydantic import ConfigDict, Field

from control_plane.admin.mesh import Mesh
from control_plane.admin.routes import PathAndQuery, Route
from control_plane.api.traced import Search, Trace, Traces
from control_plane.errors import InputError, NotFoundError
from control_plane.policies.duration import Duration

MOST = 500
"""Traces in one answer: half a megabyte of JSON."""

ID_DIGITS = 32


class TracesParams(PathAndQuery):
    """One span of a trace must meet all of these; without any, every trace is found."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=False)

    service: str = Field("", max_length=63, description="The service or gateway whose span it is.")
    operation: str = Field("", max_length=200, description="The span's name, whole.")
    min_duration: Duration | None = Field(
        None, alias="minDuration", description="How long the span took at least."
    )
    errors: bool = Field(False, description="Only spans that failed.")
    limit: int = Field(20, ge=1, le=MOST, description="Traces at most.")


class TraceParams(PathAndQuery):
    id: str = Field(
        pattern=r"^[0-9a-f]{4,32}$", description="The trace's 32 hexadecimal digits, or the first 4 or more."
    )


async def traces(mesh: Mesh, params: TracesParams, _body: object) -> Traces:
    """Traces that have a span as described, newest first."""
    wanted = Search(
        service=params.service,
        operation=params.operation,
        min_duration=(params.min_duration or timedelta(0)) // timedelta(microseconds=1) * 1000,
        errors=params.errors,
    )
    return Traces(traces=await mesh.traces.search(wanted, params.limit))


async def trace(mesh: Mesh, params: TraceParams, _body: object) -> Trace:
    """A trace with its spans as a tree."""
    named = await mesh.traces.named(params.id, 2) if len(params.id) < ID_DIGITS else (params.id,)
    if len(named) > 1:
        raise InputError(f"trace {params.id}: more than one begins so: give more digits")
    found = await mesh.traces.get(named[0]) if named else None
    if found is None:
        raise NotFoundError(f"no such trace: {params.id}: it is too old, or was never sampled")
    return found


ROUTES = (
    Route("GET", "/traces", "traces", "Find traces", traces, Traces, params=TracesParams, shows=True),
    Route(
        "GET", "/traces/{id}", "trace", "One trace", trace, Trace, params=TraceParams, errors=(404,),
        shows=True,
    ),
)  # fmt: skip
