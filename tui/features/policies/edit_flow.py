"""Editing a policy: its text in an editor, checked, shown as a difference, asked about, applied, followed.

The text outlives whatever goes wrong: a refusal, somebody who was quicker, a control plane that is away.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textual.app import SuspendNotSupported

from meshwright.control_plane.api.calls import DocumentRef
from meshwright.control_plane.api.errors import ApiError, SourceProblem
from meshwright.control_plane.api.yaml import source_map
from meshwright.control_plane.api.yaml.dump import dump_yaml
from meshwright.control_plane.errors import MeshError
from meshwright.tui.dialogs.validation_errors import ValidationErrors
from meshwright.tui.dialogs.yaml_editor import YamlEditor
from meshwright.tui.features.policies import external_editor
from meshwright.tui.features.policies.change_flow import NOTICE_SECONDS, ChangeRequest, confirm_and_apply

if TYPE_CHECKING:
    from meshwright.tui.app import DashboardApp


async def edit_policy(dash: DashboardApp, kind: str, name: str) -> None:
    """Let the user edit a policy."""
    found = await dash.call(lambda client: client.policies(kind, name))
    if found is None:
        return
    text = dump_yaml(found.documents)
    try:
        draft = external_editor.new_draft(f"{kind}-{name}", text)
        done = await _edit_until_done(dash, DocumentRef(kind, name), found.revision, draft, text)
    except MeshError as error:
        dash.notify(str(error), severity="error", timeout=NOTICE_SECONDS, markup=False)
        return
    if done:
        external_editor.discard(draft)
    else:
        where = " on the machine of this server" if dash.is_web else ""
        dash.notify(
            f"nothing was changed; your text is in {draft}{where}", timeout=NOTICE_SECONDS, markup=False
        )


async def _edit_until_done(dash: DashboardApp, ref: DocumentRef, base: int, draft: Path, before: str) -> bool:
    """Edit until the change is made or given up; False when there is a text that was not applied."""
    problems: Sequence[SourceProblem] = ()
    while True:
        await _edit_draft(dash, f"{ref.kind} {ref.name}", draft, problems)
        text = external_editor.read(draft)
        if text == before:
            dash.notify("nothing was changed", markup=False)
            return True
        problems, made = await _apply(dash, ref, base, text)
        if not problems:
            return made
        if not await dash.push_screen_wait(ValidationErrors(text, problems, ": the text stays in a file")):
            return False


async def _apply(
    dash: DashboardApp, ref: DocumentRef, base: int, text: str
) -> tuple[Sequence[SourceProblem], bool]:
    """What is wrong with a text, or whether it was applied."""
    read = source_map.parse_text(text)
    if read.problems:
        return read.problems, False
    named = ", ".join(
        dict.fromkeys(f"{one.document.get('kind')} {_name(one.document)}" for one in read.documents)
    )
    wanted = ChangeRequest(
        f"Apply {named}?",
        "apply",
        lambda client, change: client.apply(read.documents, change),
        base,
        (ref,),
    )
    try:
        return (), await confirm_and_apply(dash, wanted) is not None
    except ApiError as error:
        if not error.problems:
            dash.notify(str(error), severity="error", timeout=NOTICE_SECONDS, markup=False)
            return (), False
        return read.locate(error.problems), False
    except MeshError as error:
        dash.notify(str(error), severity="error", timeout=NOTICE_SECONDS, markup=False)
        return (), False


def _name(document: object) -> str:
    meta = document.get("metadata") if isinstance(document, dict) else None
    return str(meta.get("name", "?")) if isinstance(meta, dict) else "?"


async def _edit_draft(dash: DashboardApp, title: str, draft: Path, problems: Sequence[SourceProblem]) -> None:
    """Run the user's editor on a draft, or ours where that cannot be."""
    words = external_editor.command()
    if words:
        try:
            with dash.suspend():
                external_editor.run(words, draft, problems[0].line if problems else 0)
        except SuspendNotSupported:
            pass
        else:
            dash.refresh(layout=True)
            return
    text = await dash.push_screen_wait(YamlEditor(title, external_editor.read(draft), problems))
    if text is not None:
        external_editor.write(draft, text)
