"""The flow of every change: preview, confirm, apply, follow the ACKs.

If somebody else changed the mesh meanwhile, nothing is applied: the dashboard shows the newer revisions and
previews the change again, based on the newest. All of this runs in workers. Errors become notifications.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from textual.content import Content

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.calls import ChangeOptions, DocumentRef, SourcedDocument
from meshwright.control_plane.api.client import Client
from meshwright.control_plane.api.errors import ApiError
from meshwright.control_plane.api.models.policies import ApplyResponse
from meshwright.control_plane.api.models.proxies import WaitResult
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.errors import MeshError
from meshwright.tui.dialogs.confirm_change import ConfirmChange
from meshwright.tui.features.policies.view_model import find_document
from meshwright.tui.format import sanitize
from meshwright.tui.revision_text import describe_changes, revision_summary
from meshwright.tui.session import Session
from meshwright.tui.theme import paint

ACK_TIMEOUT = 30.0
"""Seconds that the sidecars have to ACK a revision before the dashboard reports a delay."""

HINT_DELAY = 0.5
"""Seconds without a response after which the dashboard says that it is waiting."""

NOTICE_SECONDS = 20.0
"""Seconds for which an important notification stays on screen."""

Severity = Literal["information", "warning", "error"]

ApplyChange = Callable[[Client, ChangeOptions], Awaitable[ApplyResponse]]
"""Sends the change to the API; with `dry_run` it only returns a preview."""


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """A change to confirm. `base`: the revision it is based on. `refs`: the policies it concerns.

    `verb` names the action in the confirmation dialog; `message` is the suggested message for the history.
    """

    title: str
    verb: str
    apply: ApplyChange
    base: int
    refs: tuple[DocumentRef, ...] = ()
    message: str = ""


async def confirm_and_apply(session: Session, request: ChangeRequest) -> int | None:
    """Preview, confirm, apply and follow a change. Returns the new revision; None: nothing was changed.

    Raises ApiError if the API rejects the change, UnreachableError during an outage.
    """
    base, message, notes = request.base, request.message, None
    while True:
        try:
            options = ChangeOptions(base, message, session.author, dry_run=True)
            preview = await _call_with_hint(session, request.apply, options)
            if not describe_changes(preview.changed):
                session.notify("no change: the mesh already has this configuration", markup=False)
                return None
            dialog = ConfirmChange(request.title, preview, request.verb, message=message, notes=notes)
            confirmed = await session.push_screen_wait(dialog)
            if confirmed is None:
                return None
            message = confirmed
            options = ChangeOptions(base, message, session.author)
            response = await _call_with_hint(session, request.apply, options)
        except ApiError as error:
            if error.code != "conflict":
                raise
            revisions = await session.poller.call(lambda client: client.history())
            notes = Content("\n").join(conflict_lines(revisions, base, request.refs, session.now()))
            base = revisions[0].revision
            continue
        session.run_worker(follow_acks(session, response.revision), exit_on_error=False)
        return response.revision


async def _call_with_hint(session: Session, apply: ApplyChange, options: ChangeOptions) -> ApplyResponse:
    hint = "waiting for the control plane"
    timer = session.set_timer(HINT_DELAY, lambda: session.notify(hint, timeout=2))
    try:
        return await session.poller.call(lambda client: apply(client, options))
    finally:
        timer.stop()


def conflict_lines(
    revisions: Sequence[RevisionInfo], base: int, refs: Iterable[DocumentRef], now: float
) -> Iterator[Content]:
    """The revisions after `base`, oldest first, and whether they changed the same policies."""
    keys = {(ref.kind, ref.name) for ref in refs}
    yield paint(
        f"{signs.PARTIAL} the mesh changed since revision {base}; nothing has been applied", "partial"
    )
    for revision in reversed([info for info in revisions if info.revision > base]):
        yield Content(f"  {revision_summary(revision, now)}")
        yield paint(f"    {sanitize(', '.join(describe_changes(revision.changed)))}", "dim")
        if any((change.kind, change.name) in keys for change in revision.changed):
            yield paint("    it changed the same policy: your change would overwrite it", "bad")
    yield Content("the preview below is based on the newest revision")


async def follow_acks(session: Session, revision: int) -> None:
    """Wait until the sidecars have a revision, and notify about the outcome."""
    session.poller.refresh_now()
    session.notify(
        f"{signs.PARTIAL} revision {revision} is created and being sent to the sidecars", markup=False
    )
    result = await session.call(lambda client: client.wait(revision, ACK_TIMEOUT))
    session.poller.refresh_now()
    if result:
        text, severity = wait_outcome(result)
        session.notify(text, severity=severity, timeout=NOTICE_SECONDS, markup=False)


def wait_outcome(result: WaitResult) -> tuple[str, Severity]:
    """The outcome of a wait in words, and its severity."""
    if result.withdrawn:
        return f"{signs.BAD} revision {result.revision} was withdrawn: {sanitize(result.withdrawn)}", "error"
    if result.state == "programmed":
        text = f"{signs.GOOD} revision {result.revision} is programmed on every connected sidecar"
        if not result.rejecting_older:
            return text, "information"
        names = ", ".join(proxy.name for proxy in result.rejecting_older)
        older = max(proxy.rejected_revision for proxy in result.rejecting_older)
        return f"{text}; resources of revision {older} are still rejected by {names}", "warning"
    if result.state == "rejected":
        errors = "; ".join(f"{proxy.name}: {sanitize(proxy.error)}" for proxy in result.proxies)
        rest = "the last accepted one stays in force"
        return f"{signs.BAD} revision {result.revision} is rejected, {rest}: {errors}", "error"
    if result.waves:
        return f"{signs.UNDER_WAY} {result.waves}", "information"
    behind = ", ".join(proxy.name for proxy in result.proxies) or "the control plane itself"
    late = f"is not ACKed everywhere after {ACK_TIMEOUT:g} s"
    return f"{signs.PARTIAL} revision {result.revision} {late}: {behind}", "warning"


# --- the changes ----------------------------------------------------------------------------------


async def roll_back(session: Session, number: int) -> None:
    """Roll the whole mesh back to a revision."""
    base = await newest_revision(session)
    if base is None:
        return
    if number == base:
        session.notify(f"revision {number} is the newest: choose an older one", markup=False)
        return
    request = ChangeRequest(
        f"Roll the whole mesh back to revision {number}?",
        "roll back",
        lambda client, options: client.rollback(number, options),
        base,
        message=f"rollback to revision {number}",
    )
    await apply_or_notify(session, request)


async def restore(session: Session, kind: str, name: str, number: int) -> None:
    """Roll one policy back to a revision; the others stay."""
    base = await newest_revision(session)
    old = await session.call(lambda client: client.revision(number))
    if base is None or old is None:
        return
    documents = find_document(old.documents, kind, name)
    refs = (DocumentRef(kind, name),)

    async def apply(client: Client, options: ChangeOptions) -> ApplyResponse:
        if documents:
            return await client.apply([SourcedDocument(documents[0], f"revision {number}")], options)
        return await client.delete(refs, options)

    title = f"Roll {kind} {name} back to revision {number}?"
    message = f"rollback of {kind} {name} to revision {number}"
    await apply_or_notify(session, ChangeRequest(title, "roll back", apply, base, refs, message))


async def delete(session: Session, kind: str, name: str) -> None:
    """Delete one policy."""
    base = await newest_revision(session)
    if base is None:
        return
    refs = (DocumentRef(kind, name),)
    request = ChangeRequest(
        f"Delete {kind} {name}?", "delete", lambda client, options: client.delete(refs, options), base, refs
    )
    await apply_or_notify(session, request)


async def apply_or_notify(session: Session, request: ChangeRequest) -> int | None:
    """Confirm and apply a change; an error becomes a notification."""
    try:
        return await confirm_and_apply(session, request)
    except MeshError as error:
        session.notify(str(error), severity="error", timeout=NOTICE_SECONDS, markup=False)
        return None


async def newest_revision(session: Session) -> int | None:
    """The number of the newest revision, 0 in a new mesh; None: the request failed."""
    revisions = await session.call(lambda client: client.history(1))
    if revisions is None:
        return None
    return revisions[0].revision if revisions else 0
