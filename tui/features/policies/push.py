"""The push of the newest revision in waves: shown above the revisions, paused, resumed, aborted."""

from __future__ import annotations

from collections.abc import Iterator

from textual.content import Content

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.calls import ChangeOptions
from meshwright.control_plane.api.client import Client
from meshwright.control_plane.api.models.policies import ApplyResponse
from meshwright.control_plane.api.models.push import PushAction, PushReport
from meshwright.control_plane.api.push_text import push_text
from meshwright.tui.features.policies.change_flow import ChangeRequest, apply_or_notify
from meshwright.tui.format import format_age, sanitize
from meshwright.tui.session import Session
from meshwright.tui.theme import paint

LINES = 3
"""Where it stands, who has the revision, and how both sides do."""


def is_under_way(report: PushReport | None) -> bool:
    """Whether a revision is on trial, or watched since it is in force."""
    return report is not None and report.is_under_way


def push_lines(report: PushReport, now: float) -> Iterator[Content]:
    """The push that is under way. `now` in epoch seconds."""
    push = report.push
    is_running = push is not None and push.wave > 0 and push.state == "running"
    since = f" for {format_age(max(0.0, now - push.since))}" if push and is_running else ""
    yield paint(f"{signs.UNDER_WAY} {sanitize(push_text(report.model_dump()))}{since}", "partial")
    if push and push.admitted:
        names = ", ".join(key.partition("/")[2] for key in reversed(push.admitted))
        yield Content(f"  proxies, the newest wave first: {sanitize(names)}")
    if push and push.figures:
        yield paint(f"  {sanitize(push.figures)}", "dim")


async def pause_or_resume(session: Session, report: PushReport) -> None:
    """Let no further wave begin; or go on, if the push is paused."""
    action: PushAction = "resume" if report.push and report.push.state == "paused" else "pause"
    changed = await session.call(lambda client: client.change_push(action, session.author))
    if changed:
        session.poller.refresh_now()
        session.notify(push_text(changed.model_dump()) or "the push has ended", markup=False)


async def abort(session: Session, report: PushReport) -> None:
    """Withdraw the revision on trial, after a preview of what that restores."""

    async def withdraw(client: Client, options: ChangeOptions) -> ApplyResponse:
        if options.dry_run:
            return await client.rollback(report.restores, options)
        after = await client.change_push("abort", options.author, options.message)
        return ApplyResponse(revision=after.newest)

    title = f"Withdraw revision {report.newest}, and restore {report.restores}?"
    await apply_or_notify(session, ChangeRequest(title, "withdraw", withdraw, report.newest))
