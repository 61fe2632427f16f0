"""`/push`: the push of the newest revision in waves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from meshwright.control_plane.admin.route import NoBody, NoParams, Route
from meshwright.control_plane.api.models.push import Push, PushReport, PushRequest
from meshwright.control_plane.errors import NotFoundError, RevisionConflictError

ATTEMPTS = 20
"""How often a change is made again because the push went on meanwhile."""

Withdraw = Callable[[PushReport, str, str], Awaitable[None]]
"""Withdraws the newest revision, for a reason, by an author."""


class PushLog(Protocol):
    """The push in the store. Every method raises StoreError if the store is unavailable."""

    async def read(self) -> PushReport:
        """The push that is under way, and what was withdrawn."""

    async def save(self, read: PushReport, push: Push) -> bool:
        """Write the record, unless something was written since `read`; returns whether it was."""


class PushesRouter:
    """`GET /push` and `POST /push`."""

    def __init__(self, pushes: PushLog, withdraw: Withdraw) -> None:
        self._pushes = pushes
        self._withdraw = withdraw

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (
            Route(
                "GET", "/push", "push", "The push in waves that is under way", self.push, PushReport,
                errors=(503,), read_only=True,
            ),
            Route(
                "POST", "/push", "change_push", "Pause, resume or abort the push", self.change, PushReport,
                body=PushRequest, errors=(404, 409, 503),
            ),
        )  # fmt: skip

    async def push(self, _params: NoParams, _body: NoBody) -> PushReport:
        """The push that is under way, and the last withdrawals."""
        return await self._pushes.read()

    async def change(self, _params: NoParams, body: PushRequest) -> PushReport:
        """Pause, resume or abort; raises NotFoundError without a wave to stop, or a revision to withdraw."""
        for _ in range(ATTEMPTS):
            report = await self._pushes.read()
            if not report.is_under_way:
                raise NotFoundError(f"no push is under way: revision {report.stable} is in force")
            if body.action == "abort":
                reason = f"aborted by {body.author or 'an operator'}"
                why = f": {body.message}" if body.message else ""
                await self._withdraw(report, reason + why, body.author)
                return await self._pushes.read()
            if not report.on_trial:
                raise NotFoundError(
                    f"no wave is left: revision {report.stable} is in force; `mesh push abort` withdraws it"
                )
            push = report.push or Push(revision=report.newest)
            state = "paused" if body.action == "pause" else "running"
            if await self._pushes.save(report, push.model_copy(update={"state": state})):
                return await self._pushes.read()
        raise RevisionConflictError(report.newest, report.newest)
