"""How the dashboard changes policies: it says what will change, asks, does it, and follows it.

When somebody else changed the mesh meanwhile nothing is done: what came is shown, and what is wanted is
compared with that anew. All of it runs in workers; every call may fail, and says so in words.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from textual.content import Content

from meshwright.control_plane.api.calls import ChangeOptions, DocumentRef, SourcedDocument
from meshwright.control_plane.api.client import Client
from meshwright.control_plane.api.errors import ApiError
from meshwright.control_plane.api.models.base import RevisionInfo
from meshwright.control_plane.api.models.policies import ApplyResponse, WaitResult
from meshwright.control_plane.errors import MeshError
from meshwright.tui import format
from meshwright.tui.dialogs.confirm_change import ConfirmChange
from meshwright.tui.features.policies import view_model
from meshwright.tui.theme import paint

if TYPE_CHECKING:
    from meshwright.tui.app import DashboardApp

ROLLOUT_TIMEOUT = 30.0
"""Seconds that the sidecars have to take a revision before that is told."""

HINT_DELAY = 0.5
"""Seconds without an answer after which that is told."""

NOTICE_SECONDS = 20.0
"""Seconds for which words that matter stay on screen."""

Severity = Literal["information", "warning", "error"]

ApplyChange = Callable[[Client, ChangeOptions], Awaitable[ApplyResponse]]
"""Does the change, or with `dry_run` tells what it would do."""


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """A change that is wanted. `base`: the revision it was made from; `about`: the policies it is about."""

    title: str
    verb: str
    apply: ApplyChange
    base: int
    refs: tuple[DocumentRef, ...] = ()
    reason: str = ""


async def confirm_and_apply(dash: DashboardApp, wanted: ChangeRequest) -> int | None:
    """Show, ask, do, follow. The revision that was made; None when none was.

    Raises ApiError when the API refuses what is wanted, UnreachableError when it is away.
    """
    base, why, notes = wanted.base, wanted.reason, None
    while True:
        try:
            told = await _call_with_hint(
                dash, wanted.apply, ChangeOptions(base, why, dash.author, dry_run=True)
            )
            if not view_model.describe_changes(told.changed):
                dash.notify("nothing would change: it stands so already", markup=False)
                return None
            sheet = ConfirmChange(wanted.title, told, wanted.verb, reason=why, notes=notes)
            agreed = await dash.push_screen_wait(sheet)
            if agreed is None:
                return None
            why = agreed
            done = await _call_with_hint(dash, wanted.apply, ChangeOptions(base, why, dash.author))
        except ApiError as error:
            if error.code != "conflict":
                raise
            came = await dash.poller.call(lambda client: client.history())
            notes = Content("\n").join(conflict_lines(came, base, wanted.refs, dash.now()))
            base = came[0].revision
            continue
        dash.run_worker(follow_rollout(dash, done.revision), exit_on_error=False)
        return done.revision


async def _call_with_hint(dash: DashboardApp, make: ApplyChange, change: ChangeOptions) -> ApplyResponse:
    waiting = dash.set_timer(HINT_DELAY, lambda: dash.notify("asking the control plane", timeout=2))
    try:
        return await dash.poller.call(lambda client: make(client, change))
    finally:
        waiting.stop()


def conflict_lines(
    revisions: Sequence[RevisionInfo], base: int, about: Iterable[DocumentRef], now: float
) -> Iterator[Content]:
    """What came since a revision, and whether it is about the same policies."""
    wanted = {(ref.kind, ref.name) for ref in about}
    yield paint(f"◐ the mesh changed since revision {base}; nothing was done yet", "partial")
    for revision in reversed([one for one in revisions if one.revision > base]):
        yield Content(f"  {view_model.revision_summary(revision, now)}")
        yield paint(f"    {format.sanitize(', '.join(view_model.describe_changes(revision.changed)))}", "dim")
        if any((change.kind, change.name) in wanted for change in revision.changed):
            yield paint("    it changed this very policy: what you do now takes its place", "bad")
    yield Content("what follows is compared with the mesh as it is now")


async def follow_rollout(dash: DashboardApp, revision: int) -> None:
    """Wait until the sidecars have a revision, and tell how that ended."""
    dash.poller.refresh_now()
    dash.notify(f"◐ revision {revision} is made, its sidecars are told", markup=False)
    reply = await dash.call(lambda client: client.wait(revision, ROLLOUT_TIMEOUT))
    dash.poller.refresh_now()
    if reply:
        text, severity = wait_outcome(reply)
        dash.notify(text, severity=severity, timeout=NOTICE_SECONDS, markup=False)


def wait_outcome(reply: WaitResult) -> tuple[str, Severity]:
    """How a wait ended, and how grave that is."""
    if reply.state == "programmed":
        told = f"● revision {reply.revision} is programmed at every connected sidecar"
        if not reply.rejecting_older:
            return told, "information"
        names = ", ".join(proxy.name for proxy in reply.rejecting_older)
        older = max(proxy.rejected_revision for proxy in reply.rejecting_older)
        return f"{told}; what revision {older} brought is still refused by {names}", "warning"
    if reply.state == "rejected":
        said = "; ".join(f"{proxy.name}: {format.sanitize(proxy.error)}" for proxy in reply.proxies)
        return f"✖ revision {reply.revision} is rejected, the last good one stays in force: {said}", "error"
    behind = ", ".join(proxy.name for proxy in reply.proxies) or "the control plane itself"
    return f"◐ revision {reply.revision} is not everywhere after {ROLLOUT_TIMEOUT:g} s: {behind}", "warning"


# --- what is wanted -------------------------------------------------------------------------------


async def roll_back(dash: DashboardApp, number: int) -> None:
    """Make the documents of a revision the newest."""
    base = await newest_revision(dash)
    if base is None:
        return
    if number == base:
        dash.notify(f"revision {number} is the newest: choose an older one", markup=False)
        return
    wanted = ChangeRequest(
        f"Roll the whole mesh back to revision {number}?",
        "roll back",
        lambda client, change: client.rollback(number, change),
        base,
        reason=f"rollback to revision {number}",
    )
    await apply_or_notify(dash, wanted)


async def restore(dash: DashboardApp, kind: str, name: str, number: int) -> None:
    """Make one policy what it was at a revision; the others stay."""
    base = await newest_revision(dash)
    old = await dash.call(lambda client: client.revision(number))
    if base is None or old is None:
        return
    found = view_model.find_document(old.documents, kind, name)
    refs, title = (DocumentRef(kind, name),), f"Make {kind} {name} what it was at revision {number}?"

    async def make(client: Client, change: ChangeOptions) -> ApplyResponse:
        if found:
            return await client.apply([SourcedDocument(found[0], f"revision {number}")], change)
        return await client.delete(refs, change)

    why = f"{kind} {name} back to revision {number}"
    await apply_or_notify(dash, ChangeRequest(title, "take it back", make, base, refs, why))


async def delete(dash: DashboardApp, kind: str, name: str) -> None:
    """Delete one policy."""
    base = await newest_revision(dash)
    if base is None:
        return
    refs = (DocumentRef(kind, name),)
    title = f"Delete {kind} {name}?"
    wanted = ChangeRequest(title, "delete", lambda client, change: client.delete(refs, change), base, refs)
    await apply_or_notify(dash, wanted)


async def apply_or_notify(dash: DashboardApp, wanted: ChangeRequest) -> int | None:
    """Propose; a refusal is told."""
    try:
        return await confirm_and_apply(dash, wanted)
    except MeshError as error:
        dash.notify(str(error), severity="error", timeout=NOTICE_SECONDS, markup=False)
        return None


async def newest_revision(dash: DashboardApp) -> int | None:
    """The number of the newest revision, 0 in a new mesh; None when nobody tells."""
    found = await dash.call(lambda client: client.history(1))
    if found is None:
        return None
    return found[0].revision if found else 0
