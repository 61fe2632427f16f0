"""Editing a policy: open it in an editor, validate, preview, confirm, apply, follow the ACKs.

The draft survives every failure: invalid text, a conflicting change, an outage.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textual.app import SuspendNotSupported

from meshwright.control_plane.api.calls import DocumentRef
from meshwright.control_plane.api.errors import ApiError, SourceProblem
from meshwright.control_plane.api.yaml.dump import dump_yaml
from meshwright.control_plane.api.yaml.source_map import parse_text
from meshwright.control_plane.errors import MeshError
from meshwright.tui.dialogs.validation_errors import ValidationErrors
from meshwright.tui.dialogs.yaml_editor import YamlEditor
from meshwright.tui.features.policies import external_editor
from meshwright.tui.features.policies.change_flow import NOTICE_SECONDS, ChangeRequest, confirm_and_apply
from meshwright.tui.session import Session


async def edit_policy(session: Session, kind: str, name: str) -> None:
    """Let the user edit a policy."""
    response = await session.call(lambda client: client.policies(kind, name))
    if response is None:
        return
    text = dump_yaml(response.documents)
    try:
        draft = external_editor.new_draft(f"{kind}-{name}", text)
        done = await _edit_until_done(session, DocumentRef(kind, name), response.revision, draft, text)
    except MeshError as error:
        _notify_error(session, error)
        return
    if done:
        external_editor.discard(draft)
    else:
        where = " on the host of this server" if session.is_web else ""
        message = f"nothing was changed; your text is in {draft}{where}"
        session.notify(message, timeout=NOTICE_SECONDS, markup=False)


async def _edit_until_done(session: Session, ref: DocumentRef, base: int, draft: Path, original: str) -> bool:
    """Edit until the change is applied or cancelled. False: the draft holds text that was not applied."""
    problems: Sequence[SourceProblem] = ()
    while True:
        await _edit_draft(session, f"{ref.kind} {ref.name}", draft, problems)
        text = external_editor.read(draft)
        if text == original:
            session.notify("nothing was changed", markup=False)
            return True
        problems, applied = await _apply(session, ref, base, text)
        if not problems:
            return applied
        dialog = ValidationErrors(text, problems, ": the text stays in a file")
        if not await session.push_screen_wait(dialog):
            return False


async def _apply(
    session: Session, ref: DocumentRef, base: int, text: str
) -> tuple[Sequence[SourceProblem], bool]:
    """The problems of a text, and whether it was applied."""
    parsed = parse_text(text)
    if parsed.problems:
        return parsed.problems, False
    names = dict.fromkeys(
        f"{source.document.get('kind')} {_name(source.document)}" for source in parsed.documents
    )
    request = ChangeRequest(
        f"Apply {', '.join(names)}?",
        "apply",
        lambda client, options: client.apply(parsed.documents, options),
        base,
        (ref,),
    )
    try:
        return (), await confirm_and_apply(session, request) is not None
    except ApiError as error:
        if error.problems:
            return parsed.locate(error.problems), False
        _notify_error(session, error)
    except MeshError as error:
        _notify_error(session, error)
    return (), False


def _notify_error(session: Session, error: MeshError) -> None:
    session.notify(str(error), severity="error", timeout=NOTICE_SECONDS, markup=False)


def _name(document: object) -> str:
    metadata = document.get("metadata") if isinstance(document, dict) else None
    return str(metadata.get("name", "?")) if isinstance(metadata, dict) else "?"


async def _edit_draft(session: Session, title: str, draft: Path, problems: Sequence[SourceProblem]) -> None:
    """Run the user's editor on a draft, or the built-in one where that is impossible."""
    command = external_editor.command()
    if command:
        try:
            with session.suspend():
                external_editor.run(command, draft, problems[0].line if problems else 0)
        except SuspendNotSupported:
            pass
        else:
            session.refresh(layout=True)
            return
    text = await session.push_screen_wait(YamlEditor(title, external_editor.read(draft), problems))
    if text is not None:
        external_editor.write(draft, text)
