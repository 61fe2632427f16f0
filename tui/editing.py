"""Editing a policy: its text in an editor, checked, shown as a difference, asked about, applied, followed.

The text outlives whatever goes wrong: a refusal, somebody who was quicker, a control plane that is away.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import SuspendNotSupported

from control_plane.api import edited
from control_plane.api.failures import ApiError, Place
from control_plane.api.operations import Ref
from control_plane.api.yaml_text import render
from control_plane.errors import MeshError
from tui.changes import READ, Proposal, propose
from tui.editor import process
from tui.sheets.editor import EditorSheet
from tui.sheets.refused import Refused

if TYPE_CHECKING:
    from tui.app import Dash


async def edit(dash: Dash, kind: str, name: str) -> None:
    """Let the user edit a policy."""
    found = await dash.ask(lambda client: client.policies(kind, name))
    if found is None:
        return
    text = render(found.documents)
    try:
        draft = process.new_draft(f"{kind}-{name}", text)
        done = await _rounds(dash, Ref(kind, name), found.revision, draft, text)
    except MeshError as error:
        dash.notify(str(error), severity="error", timeout=READ, markup=False)
        return
    if done:
        process.discard(draft)
    else:
        where = " on the machine of this server" if dash.is_web else ""
        dash.notify(f"nothing was changed; your text is in {draft}{where}", timeout=READ, markup=False)


async def _rounds(dash: Dash, ref: Ref, base: int, draft: Path, before: str) -> bool:
    """Edit until the change is made or given up; False when there is a text that was not applied."""
    problems: Sequence[Place] = ()
    while True:
        await _write(dash, f"{ref.kind} {ref.name}", draft, problems)
        text = process.read(draft)
        if text == before:
            dash.notify("nothing was changed", markup=False)
            return True
        problems, made = await _applied(dash, ref, base, text)
        if not problems:
            return made
        if not await dash.push_screen_wait(Refused(text, problems, ": the text stays in a file")):
            return False


async def _applied(dash: Dash, ref: Ref, base: int, text: str) -> tuple[Sequence[Place], bool]:
    """What is wrong with a text, or whether it was applied."""
    read = edited.read(text)
    if read.problems:
        return read.problems, False
    named = ", ".join(
        dict.fromkeys(f"{one.document.get('kind')} {_name(one.document)}" for one in read.documents)
    )
    wanted = Proposal(
        f"Apply {named}?",
        "apply",
        lambda client, change: client.apply(read.documents, change),
        base,
        (ref,),
    )
    try:
        return (), await propose(dash, wanted) is not None
    except ApiError as error:
        if not error.problems:
            dash.notify(str(error), severity="error", timeout=READ, markup=False)
            return (), False
        return read.placed(error.problems), False
    except MeshError as error:
        dash.notify(str(error), severity="error", timeout=READ, markup=False)
        return (), False


def _name(document: object) -> str:
    meta = document.get("metadata") if isinstance(document, dict) else None
    return str(meta.get("name", "?")) if isinstance(meta, dict) else "?"


async def _write(dash: Dash, title: str, draft: Path, problems: Sequence[Place]) -> None:
    """Run the user's editor on a draft, or ours where that cannot be."""
    words = process.command()
    if words:
        try:
            with dash.suspend():
                process.run(words, draft, problems[0].line if problems else 0)
        except SuspendNotSupported:
            pass
        else:
            dash.refresh(layout=True)
            return
    text = await dash.push_screen_wait(EditorSheet(title, process.read(draft), problems))
    if text is not None:
        process.write(draft, text)
