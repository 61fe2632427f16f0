"""Routes of Jaeger's query API, for its UI and for everything else that reads it, such as Grafana.

Paths and parameters are those of Jaeger's `/api`. Errors have the admin API's own form.
"""

from __future__ import annotations

import asyncio
import re

from pydantic import Field

from meshwright.control_plane.admin.jaeger_format import (
    JaegerDependencies,
    JaegerDependency,
    JaegerNames,
    JaegerTraces,
    to_jaeger,
)
from meshwright.control_plane.admin.protocols import TraceReader
from meshwright.control_plane.admin.route import NoBody, NoParams, RequestParams, Route
from meshwright.control_plane.admin.routers.traces import ID_DIGITS, MAX_TRACES
from meshwright.control_plane.api.models.traces import TraceQuery
from meshwright.control_plane.api.spiffe import NAME_PATTERN
from meshwright.control_plane.errors import NotFoundError

PREFIX = "/api"

_DURATION = r"^[0-9]{1,9}(\.[0-9]{1,9})?(us|µs|ms|s|m|h)$"
_UNITS = {"us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9}
_LATEST = 9_223_372_036_854_775
"""The largest time in microseconds that fits 63 bits of nanoseconds."""


class JaegerServiceParams(RequestParams):
    service: str = Field(pattern=f"^{NAME_PATTERN}$")


class JaegerSearchParams(RequestParams):
    """Jaeger's search."""

    service: str = Field(pattern=f"^{NAME_PATTERN}$", description="The service of the span.")
    operation: str = Field("", max_length=200)
    start: int = Field(0, ge=0, le=_LATEST, description="Microseconds since the epoch.")
    end: int = Field(0, ge=0, le=_LATEST, description="Microseconds since the epoch; 0: now.")
    minDuration: str = Field("", pattern=f"^$|{_DURATION}", description="Such as 1.2s, 100ms, 500us.")
    maxDuration: str = Field("", pattern=f"^$|{_DURATION}")
    tags: str = Field("", max_length=1000, description='Empty or {"error": "true"}, the only tag supported.')
    lookback: str = Field("", max_length=20, description="Ignored: use start and end.")
    limit: int = Field(20, ge=1, le=MAX_TRACES)


class JaegerTraceParams(RequestParams):
    id: str = Field(pattern=r"^[0-9a-fA-F]{1,32}$", description="Leading zeros may be omitted.")


class JaegerDependencyParams(RequestParams):
    endTs: int = Field(0, ge=0, le=_LATEST // 1000, description="Milliseconds since the epoch; 0: now.")
    lookback: int = Field(0, ge=0, le=_LATEST // 1000, description="Milliseconds before endTs; 0: no limit.")


class JaegerRouter:
    """`/api/services`, `/api/traces`, `/api/dependencies`."""

    def __init__(self, traces: TraceReader) -> None:
        self._traces = traces

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (
            Route(
                "GET", "/services", "jaeger_services", "Services (Jaeger)", self.services, JaegerNames,
                prefix=PREFIX, read_only=True,
            ),
            Route(
                "GET", "/services/{service}/operations", "jaeger_operations",
                "Operations of a service (Jaeger)", self.operations, JaegerNames, params=JaegerServiceParams,
                prefix=PREFIX, read_only=True,
            ),
            Route(
                "GET", "/traces", "jaeger_traces", "Search traces (Jaeger)", self.search, JaegerTraces,
                params=JaegerSearchParams, prefix=PREFIX, read_only=True,
            ),
            Route(
                "GET", "/traces/{id}", "jaeger_trace", "One trace (Jaeger)", self.trace, JaegerTraces,
                params=JaegerTraceParams, errors=(404,), prefix=PREFIX, read_only=True,
            ),
            Route(
                "GET", "/dependencies", "jaeger_dependencies", "Dependencies (Jaeger)", self.dependencies,
                JaegerDependencies, params=JaegerDependencyParams, prefix=PREFIX, read_only=True,
            ),
        )  # fmt: skip

    async def services(self, _params: NoParams, _body: NoBody) -> JaegerNames:
        """The services and gateways that have sent spans."""
        names = await self._traces.services()
        return JaegerNames(data=names, total=len(names))

    async def operations(self, params: JaegerServiceParams, _body: NoBody) -> JaegerNames:
        """The names of a service's spans."""
        names = await self._traces.operations(params.service)
        return JaegerNames(data=names, total=len(names))

    async def search(self, params: JaegerSearchParams, _body: NoBody) -> JaegerTraces:
        """Traces with a span that matches, with all their spans, newest first."""
        query = TraceQuery(
            service=params.service,
            operation=params.operation,
            min_duration=_nanoseconds(params.minDuration),
            max_duration=_nanoseconds(params.maxDuration),
            errors="error" in params.tags,
            start=params.start * 1000,
            end=params.end * 1000,
        )
        traces = []
        async for trace in self._traces.search_full(query, params.limit):
            traces.append(to_jaeger(trace))
            await asyncio.sleep(0)
        return JaegerTraces(data=tuple(traces), limit=params.limit)

    async def trace(self, params: JaegerTraceParams, _body: NoBody) -> JaegerTraces:
        """One trace."""
        trace = await self._traces.get(params.id.lower().zfill(ID_DIGITS))
        if trace is None:
            raise NotFoundError("trace not found")
        return JaegerTraces(data=(to_jaeger(trace),))

    async def dependencies(self, params: JaegerDependencyParams, _body: NoBody) -> JaegerDependencies:
        """Calls between services, counted in the traces of that time."""
        end = params.endTs * 1_000_000
        start = max(0, end - params.lookback * 1_000_000) if end and params.lookback else 0
        dependencies = await self._traces.dependencies(start, end)
        data = (
            JaegerDependency(parent=edge.caller, child=edge.callee, callCount=edge.count)
            for edge in dependencies
        )
        return JaegerDependencies(data=tuple(data))


def _nanoseconds(duration: str) -> int:
    match = re.fullmatch(r"([0-9.]+)(\D+)", duration)
    return round(float(match[1]) * _UNITS[match[2]]) if match else 0
