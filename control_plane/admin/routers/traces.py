"""Routes of traces: search them, and read one."""

from __future__ import annotations

from datetime import timedelta

from pydantic import ConfigDict, Field

from meshwright.control_plane.admin.protocols import TraceReader
from meshwright.control_plane.admin.route import NoBody, RequestParams, Route
from meshwright.control_plane.api.models.traces import Trace, TraceList, TraceQuery
from meshwright.control_plane.errors import InputError, NotFoundError
from meshwright.control_plane.policies.duration import Duration

MAX_TRACES = 500
"""Traces in one response: half a megabyte of JSON."""

ID_DIGITS = 32


class TracesParams(RequestParams):
    """One span of a trace must match all of these; without any, every trace matches."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=False)

    service: str = Field("", max_length=63, description="The service or gateway of the span.")
    operation: str = Field("", max_length=200, description="The span's name (exact match).")
    min_duration: Duration | None = Field(
        None, alias="minDuration", description="Minimum duration of the span."
    )
    errors: bool = Field(False, description="Only failed spans.")
    limit: int = Field(20, ge=1, le=MAX_TRACES, description="Maximum number of traces.")


class TraceParams(RequestParams):
    id: str = Field(
        pattern=r"^[0-9a-f]{4,32}$", description="A trace ID (32 hex digits) or a prefix of at least 4."
    )


class TracesRouter:
    """`/traces` and `/traces/{id}`."""

    def __init__(self, traces: TraceReader) -> None:
        self._traces = traces

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (
            Route(
                "GET", "/traces", "traces", "Search traces", self.traces, TraceList, params=TracesParams,
                read_only=True,
            ),
            Route(
                "GET", "/traces/{id}", "trace", "One trace", self.trace, Trace, params=TraceParams,
                errors=(404,), read_only=True,
            ),
        )  # fmt: skip

    async def traces(self, params: TracesParams, _body: NoBody) -> TraceList:
        """Traces with a span that matches, newest first."""
        query = TraceQuery(
            service=params.service,
            operation=params.operation,
            min_duration=(params.min_duration or timedelta(0)) // timedelta(microseconds=1) * 1000,
            errors=params.errors,
        )
        return TraceList(traces=await self._traces.search(query, params.limit))

    async def trace(self, params: TraceParams, _body: NoBody) -> Trace:
        """A trace with its spans as a tree."""
        ids: tuple[str, ...] = (params.id,)
        if len(params.id) < ID_DIGITS:
            ids = await self._traces.ids_with_prefix(params.id, 2)
        if len(ids) > 1:
            raise InputError(f"trace {params.id}: more than one trace has this prefix: add digits")
        trace = await self._traces.get(ids[0]) if ids else None
        if trace is None:
            raise NotFoundError(f"no such trace: {params.id}: it has expired, or was never sampled")
        return trace
