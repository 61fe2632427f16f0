"""Routes of single requests: what proxies told of them, and why one failed or was slow."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from pydantic import Field

from meshwright.control_plane.admin.context import AdminContext, ExplainInput
from meshwright.control_plane.admin.route import RequestParams, Route
from meshwright.control_plane.api.models.requests import Explanation, Request, RequestList
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.api.models.traces import Trace
from meshwright.control_plane.core.revision import PolicyRevision
from meshwright.control_plane.errors import InputError, NotFoundError, StoreError
from meshwright.control_plane.policies.duration import Duration

MAX_REQUESTS = 500
"""Requests in one answer."""

MAX_REVISIONS = 1000
"""Revisions that are looked through for who brought a policy: as many as the store gives at once."""

CLOCK_SKEW_SECONDS = 0.5
"""Seconds by which a proxy's clock may be behind the store's."""

TRACE_DIGITS = 32


class RequestsParams(RequestParams):
    service: str = Field("", max_length=63, description="Told by its proxies, or sent to it.")
    errors: bool = Field(False, description="Only those that failed.")
    since: Duration | None = Field(None, description="Only those that began within this time, e.g. 5m.")
    limit: int = Field(50, ge=1, le=MAX_REQUESTS, description="Requests at most.")


class WhyParams(RequestParams):
    id: str = Field(
        pattern=r"^[!-~]{4,128}$",
        description="A request's x-request-id or its trace's 32 digits, or the first of them (4 or more).",
    )


async def requests(mesh: AdminContext, params: RequestsParams, _body: object) -> RequestList:
    """What proxies told of requests, newest first: those that failed, took a second, or were tapped."""
    since = mesh.clock() - params.since / timedelta(seconds=1) if params.since else 0.0
    found = await mesh.requests.recent(
        params.limit, service=params.service, errors=params.errors, since=since
    )
    return RequestList(requests=found)


async def why(mesh: AdminContext, params: WhyParams, _body: object) -> Explanation:
    """Why a request failed or was slow: flag, sidecar, policy, revision, author."""
    id = await _whole(mesh, params.id)
    records = await mesh.requests.find(id)
    trace = await _trace(mesh, id, records)
    if trace is not None or (records and records[0].trace not in ("", id)):
        # What the app called in turn may have another request id, and is of the same trace.
        of_trace = await mesh.requests.find(trace.id if trace else records[0].trace)
        records = tuple({(one.service, one.seq, one.time): one for one in (*records, *of_trace)}.values())
    begun = min((one.time for one in records), default=trace.start if trace else 0.0)
    changes, revision = await _in_force(mesh, begun)
    found = mesh.explain(ExplainInput(id, records, trace, revision, changes, mesh.clock()))
    if found is None:
        raise NotFoundError(
            f"no such request: {params.id}: it is too old, or it went well in less than a second and nobody "
            "tapped it; of one that was traced give the trace's ID"
        )
    return found


async def _whole(mesh: AdminContext, prefix: str) -> str:
    """The one id that begins so; the prefix itself when none does."""
    found = set(await mesh.requests.ids_with_prefix(prefix, 2))
    if prefix not in found:
        digits = prefix.lower()
        if len(digits) <= TRACE_DIGITS and not set(digits) - set("0123456789abcdef"):
            found |= set(await mesh.traces.ids_with_prefix(digits, 2))
        if len(found) > 1:
            raise InputError(f"request {prefix}: more than one begins so: give more of it")
    return prefix if prefix in found else next(iter(found), prefix)


async def _trace(mesh: AdminContext, id: str, records: Sequence[Request]) -> Trace | None:
    """The spans of a request, where it was traced."""
    known = next((one.trace for one in records if one.trace), id)
    if len(known) != TRACE_DIGITS or set(known) - set("0123456789abcdef"):
        return None
    return await mesh.traces.get(known)


async def _in_force(mesh: AdminContext, begun: float) -> tuple[Sequence[RevisionInfo], PolicyRevision | None]:
    """The revisions, newest first, and the one in force at a request; none while the store is away."""
    try:
        changes = await mesh.revisions.history(MAX_REVISIONS, None)
        known = next((one for one in changes if one.time <= begun + CLOCK_SKEW_SECONDS), None)
        return changes, await mesh.revisions.get(known.revision) if known else None
    except (StoreError, NotFoundError):
        return (), None


ROUTES = (
    Route("GET", "/requests", "requests", "Requests", requests, RequestList, params=RequestsParams, read_only=True),
    Route(
        "GET", "/why/{id}", "why", "Why a request failed or was slow", why, Explanation,
        params=WhyParams, errors=(404,), read_only=True,
    ),
)  # fmt: skip
