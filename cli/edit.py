"""`mesh edit`: a policy in the user's editor, applied when the editor is closed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from meshwright.cli.apply import change_options, print_changes, split_ref, wait_for_revision
from meshwright.cli.errors import warn
from meshwright.cli.http import call_api
from meshwright.cli.options import (
    DryRunOption,
    ImmediateOption,
    MessageOption,
    Output,
    OutputOption,
    StateOption,
    TimeoutOption,
    WaitOption,
)
from meshwright.cli.output import echo
from meshwright.control_plane.api import calls
from meshwright.control_plane.errors import InputError, MeshError
from meshwright.tui.features.policies import external_editor


def edit(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Kind of the policy, or KIND/NAME.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the policy.")] = "",
    *,
    wait: WaitOption = False,
    timeout: TimeoutOption = 60.0,
    dry_run: DryRunOption = False,
    immediate: ImmediateOption = False,
    message: MessageOption = "",
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Edit a policy in your editor ($VISUAL, $EDITOR or vi), and apply it when you close it.

    If it is invalid, or the mesh was changed in the meantime (exit code 6), nothing is applied and your text
    is kept in a file, which the error names.

    \b
    Example:
      mesh edit retry/inventory-retry --wait
      EDITOR='code --wait' mesh edit httproute shop
    """
    kind, name = split_ref(kind, name)
    if not name:
        raise InputError(f"{kind}: no name: use `mesh edit KIND/NAME`, with one that `mesh get {kind}` lists")
    current = call_api(calls.policies(kind, name), state)
    options = change_options(current["revision"], message, dry_run=dry_run, immediate=immediate)
    result = _apply_edited(current, options, state)
    if result is None:
        echo("not changed")
        return
    print_changes(result, output, dry_run=dry_run, wait=wait)
    if wait and not dry_run:
        wait_for_revision(result, timeout, state)


def _apply_edited(current: Any, options: calls.ChangeOptions, state: Path | None) -> Any:
    """What the apply of an edited document returned, None if the text was not changed.

    Raises MeshError: what is wrong, and where the text is.
    """
    from meshwright.cli.documents import load_documents
    from meshwright.control_plane.api.yaml.dump import dump_yaml

    editor = external_editor.command()
    if not editor:
        raise InputError("no editor: set EDITOR")
    (document,) = current["documents"]
    before = dump_yaml([document])
    draft = external_editor.new_draft(document["metadata"]["name"], before)
    result = None
    try:
        external_editor.run(editor, draft)
        if external_editor.read(draft) != before:
            edited = load_documents([str(draft)])
            _check_same(document, [item.document for item in edited])
            result = call_api(calls.apply(edited, options), state)
    except MeshError:
        warn(f"nothing was applied; your text is in {draft}: correct it, and `mesh apply -f` it")
        raise
    external_editor.discard(draft)
    return result


def _check_same(document: dict[str, Any], edited: list[Mapping[str, Any]]) -> None:
    """Raise InputError unless the text is still one document of this kind and name."""
    names = [(item["kind"], item["metadata"]["name"]) for item in edited]
    if names != [(document["kind"], document["metadata"]["name"])]:
        subject = f"{document['kind']}/{document['metadata']['name']}"
        raise InputError(f"{subject}: the text has another kind or name: apply it with `mesh apply -f`")
