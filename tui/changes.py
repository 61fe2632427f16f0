"""How the dashboard changes policies: it says what will change, asks, does it, and follows it.

When somebody else changed the mesh meanwhile nothing is done: what came is shown, and what is wanted is
compared with that anew. All of it runs in workers; every call may fail, and says so in words.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from textual.content import Content

from control_plane.api.client import AdminClient
from control_plane.api.failures import ApiError
from control_plane.api.messages import AppliedReply, WaitReply
from control_plane.api.operations import Change, Ref, Sourced
from control_plane.api.types import RevisionInfo
from control_plane.errors import MeshError
from tui import policy_words, words
from tui.sheets.change import ChangeSheet
from tui.theme import paint

if TYPE_CHECKING:
    from tui.app import Dash

PATIENCE = 30.0
"""Seconds that the sidecars have to take a revision before that is told."""

HINT_AFTER = 0.5
"""Seconds without an answer after which that is told."""

READ = 20.0
"""Seconds for which words that matter stay on screen."""

Severity = Literal["information", "warning", "error"]

Make = Callable[[AdminClient, Change], Awaitable[AppliedReply]]
"""Does the change, or with `dry_run` tells what it would do."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change that is wanted. `base`: the revision it was made from; `about`: the policies it is about."""

    title: str
    verb: str
    make: Make
    base: int
    about: tuple[Ref, ...] = ()
    why: str = ""


async def propose(dash: Dash, wanted: Proposal) -> int | None:
    """Show, ask, do, follow. The revision that was made; None when none was.

    Raises ApiError when the API refuses what is wanted, UnreachableError when it is away.
    """
    base, why, notes = wanted.base, wanted.why, None
    while True:
        try:
            told = await _make(dash, wanted.make, Change(base, why, dash.author, dry_run=True))
            if not policy_words.changes(told.changed):
                dash.notify("nothing would change: it stands so already", markup=False)
                return None
            sheet = ChangeSheet(wanted.title, told, wanted.verb, why=why, notes=notes)
            agreed = await dash.push_screen_wait(sheet)
            if agreed is None:
                return None
            why = agreed
            done = await _make(dash, wanted.make, Change(base, why, dash.author))
        except ApiError as error:
            if error.code != "conflict":
                raise
            came = await dash.source.ask(lambda client: client.history())
            notes = Content("\n").join(overtaken(came, base, wanted.about, dash.now()))
            base = came[0].revision
            continue
        dash.run_worker(follow(dash, done.revision), exit_on_error=False)
        return done.revision


async def _make(dash: Dash, make: Make, change: Change) -> AppliedReply:
    waiting = dash.set_timer(HINT_AFTER, lambda: dash.notify("asking the control plane", timeout=2))
    try:
        return await dash.source.ask(lambda client: make(client, change))
    finally:
        waiting.stop()


def overtaken(
    revisions: Sequence[RevisionInfo], base: int, about: Iterable[Ref], now: float
) -> Iterator[Content]:
    """What came since a revision, and whether it is about the same policies."""
    wanted = {(ref.kind, ref.name) for ref in about}
    yield paint(f"◐ the mesh changed since revision {base}; nothing was done yet", "partial")
    for revision in reversed([one for one in revisions if one.revision > base]):
        yield Content(f"  {policy_words.said(revision, now)}")
        yield paint(f"    {words.clean(', '.join(policy_words.changes(revision.changed)))}", "dim")
        if any((change.kind, change.name) in wanted for change in revision.changed):
            yield paint("    it changed this very policy: what you do now takes its place", "bad")
    yield Content("what follows is compared with the mesh as it is now")


async def follow(dash: Dash, revision: int) -> None:
    """Wait until the sidecars have a revision, and tell how that ended."""
    dash.source.hurry()
    dash.notify(f"◐ revision {revision} is made, its sidecars are told", markup=False)
    reply = await dash.ask(lambda client: client.wait(revision, PATIENCE))
    dash.source.hurry()
    if reply:
        text, severity = outcome(reply)
        dash.notify(text, severity=severity, timeout=READ, markup=False)


def outcome(reply: WaitReply) -> tuple[str, Severity]:
    """How a wait ended, and how grave that is."""
    if reply.state == "programmed":
        told = f"● revision {reply.revision} is programmed at every connected sidecar"
        if not reply.refusing:
            return told, "information"
        names = ", ".join(proxy.name for proxy in reply.refusing)
        older = max(proxy.refused for proxy in reply.refusing)
        return f"{told}; what revision {older} brought is still refused by {names}", "warning"
    if reply.state == "rejected":
        said = "; ".join(f"{proxy.name}: {words.clean(proxy.error)}" for proxy in reply.proxies)
        return f"✖ revision {reply.revision} is rejected, the last good one stays in force: {said}", "error"
    behind = ", ".join(proxy.name for proxy in reply.proxies) or "the control plane itself"
    return f"◐ revision {reply.revision} is not everywhere after {PATIENCE:g} s: {behind}", "warning"


# --- what is wanted -------------------------------------------------------------------------------


async def roll_back(dash: Dash, number: int) -> None:
    """Make the documents of a revision the newest."""
    base = await newest(dash)
    if base is None:
        return
    if number == base:
        dash.notify(f"revision {number} is the newest: choose an older one", markup=False)
        return
    wanted = Proposal(
        f"Roll the whole mesh back to revision {number}?",
        "roll back",
        lambda client, change: client.rollback(number, change),
        base,
        why=f"rollback to revision {number}",
    )
    await attempt(dash, wanted)


async def restore(dash: Dash, kind: str, name: str, number: int) -> None:
    """Make one policy what it was at a revision; the others stay."""
    base = await newest(dash)
    old = await dash.ask(lambda client: client.revision(number))
    if base is None or old is None:
        return
    found = policy_words.one(old.documents, kind, name)
    refs, title = (Ref(kind, name),), f"Make {kind} {name} what it was at revision {number}?"

    async def make(client: AdminClient, change: Change) -> AppliedReply:
        if found:
            return await client.apply([Sourced(found[0], f"revision {number}")], change)
        return await client.delete(refs, change)

    why = f"{kind} {name} back to revision {number}"
    await attempt(dash, Proposal(title, "take it back", make, base, refs, why))


async def delete(dash: Dash, kind: str, name: str) -> None:
    """Delete one policy."""
    base = await newest(dash)
    if base is None:
        return
    refs = (Ref(kind, name),)
    title = f"Delete {kind} {name}?"
    wanted = Proposal(title, "delete", lambda client, change: client.delete(refs, change), base, refs)
    await attempt(dash, wanted)


async def attempt(dash: Dash, wanted: Proposal) -> int | None:
    """Propose; a refusal is told."""
    try:
        return await propose(dash, wanted)
    except MeshError as error:
        dash.notify(str(error), severity="error", timeout=READ, markup=False)
        return None


async def newest(dash: Dash) -> int | None:
    """The number of the newest revision, 0 in a new mesh; None when nobody tells."""
    found = await dash.ask(lambda client: client.history(1))
    if found is None:
        return None
    return found[0].revision if found else 0
