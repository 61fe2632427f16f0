"""Route: why a request failed or was slow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import Field

from meshwright.control_plane.admin.protocols import Clock, RequestReader, RevisionLog, TraceReader
from meshwright.control_plane.admin.route import NoBody, RequestParams, Route
from meshwright.control_plane.api.models.requests import Explanation, Request
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.api.models.traces import Trace
from meshwright.control_plane.core.revision import PolicyRevision
from meshwright.control_plane.errors import InputError, NotFoundError, StoreError

MAX_REVISIONS = 1000
"""Revisions searched for the last change to a policy: as many as the store returns at once."""

CLOCK_SKEW_SECONDS = 0.5
"""Seconds by which a proxy's clock may lag behind the store's."""

TRACE_DIGITS = 32


class ExplainParams(RequestParams):
    id: str = Field(
        pattern=r"^[!-~]{4,128}$",
        description="A request's x-request-id or its trace's 32 digits, or the first 4 or more characters.",
    )


@dataclass(frozen=True, slots=True)
class ExplainInput:
    """What is known about a request.

    `revision` was in force when the request began, `changes` are all revisions, newest first; both are
    missing if the store is unavailable. `now` is in epoch seconds.
    """

    id: str
    records: Sequence[Request]
    trace: Trace | None
    revision: PolicyRevision | None
    changes: Sequence[RevisionInfo]
    now: float


Explain = Callable[[ExplainInput], Explanation | None]
"""Explains a request; None if nothing is known about it."""


class ExplainRouter:
    """`/why/{id}`."""

    def __init__(
        self,
        requests: RequestReader,
        traces: TraceReader,
        revisions: RevisionLog,
        explain: Explain,
        *,
        now: Clock,
    ) -> None:
        self._requests = requests
        self._traces = traces
        self._revisions = revisions
        self._explain = explain
        self._now = now

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (
            Route(
                "GET", "/why/{id}", "explain", "Why a request failed or was slow", self.explain, Explanation,
                params=ExplainParams, errors=(404,), read_only=True,
            ),
        )  # fmt: skip

    async def explain(self, params: ExplainParams, _body: NoBody) -> Explanation:
        """Why a request failed or was slow: response flag, sidecar, policy, revision, author."""
        id = await self._complete(params.id)
        records = await self._requests.find(id)
        trace = await self._trace(id, records)
        if trace is not None or (records and records[0].trace not in ("", id)):
            # Requests that the app made in turn may have other request ids, but share the trace.
            in_trace = await self._requests.find(trace.id if trace else records[0].trace)
            unique = {(record.service, record.seq, record.time): record for record in (*records, *in_trace)}
            records = tuple(unique.values())
        began = min((record.time for record in records), default=trace.start if trace else 0.0)
        changes, revision = await self._in_force(began)
        explanation = self._explain(ExplainInput(id, records, trace, revision, changes, self._now()))
        if explanation is None:
            raise NotFoundError(
                f"no such request: {params.id}: it has expired, or it succeeded within a second and was not "
                "tapped; for a traced request use the trace's ID"
            )
        return explanation

    async def _complete(self, prefix: str) -> str:
        """The only id with this prefix; the prefix itself if there is none."""
        ids = set(await self._requests.ids_with_prefix(prefix, 2))
        if prefix not in ids:
            digits = prefix.lower()
            if len(digits) <= TRACE_DIGITS and _is_hexadecimal(digits):
                ids |= set(await self._traces.ids_with_prefix(digits, 2))
            if len(ids) > 1:
                raise InputError(f"request {prefix}: more than one id has this prefix: add characters")
        return prefix if prefix in ids else next(iter(ids), prefix)

    async def _trace(self, id: str, records: Sequence[Request]) -> Trace | None:
        """The request's trace, if it was sampled."""
        trace_id = next((record.trace for record in records if record.trace), id)
        if len(trace_id) != TRACE_DIGITS or not _is_hexadecimal(trace_id):
            return None
        return await self._traces.get(trace_id)

    async def _in_force(self, began: float) -> tuple[Sequence[RevisionInfo], PolicyRevision | None]:
        """All revisions, newest first, and the one in force then; none if the store is unavailable."""
        try:
            changes = await self._revisions.history(MAX_REVISIONS, None)
            info = next((info for info in changes if info.time <= began + CLOCK_SKEW_SECONDS), None)
            return changes, await self._revisions.get(info.revision) if info else None
        except (StoreError, NotFoundError):
            return (), None


def _is_hexadecimal(text: str) -> bool:
    return not set(text) - set("0123456789abcdef")
