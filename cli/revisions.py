"""`mesh history`, `mesh show` and `mesh rollback`: revisions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from meshwright.cli.apply import change_options, print_changes, wait_for_revision
from meshwright.cli.http import call_api
from meshwright.cli.listing import print_documents
from meshwright.cli.options import (
    BaseOption,
    DryRunOption,
    ImmediateOption,
    MessageOption,
    NoVerifyOption,
    Output,
    OutputOption,
    StateOption,
    TimeoutOption,
    WaitOption,
)
from meshwright.cli.output import echo, print_data, print_items, print_table, sanitize
from meshwright.control_plane.api import calls
from meshwright.control_plane.errors import InputError

RevisionArgument = Annotated[
    int, typer.Argument(metavar="REV", min=1, max=2**53, help="Number of a revision.")
]

MAX_LISTED_CHANGES = 3
"""Maximum changes of a revision that the table of `mesh history` lists."""


def history(
    limit: Annotated[
        int, typer.Option("--limit", "-n", metavar="N", min=1, max=1000, help="Maximum number of revisions.")
    ] = 20,
    before: Annotated[
        int | None, typer.Option("--before", metavar="REV", min=0, help="Only revisions below REV.")
    ] = None,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """List revisions, newest first: who changed what, when and why.

    \b
    Example:
      mesh history -n 5
    """
    revisions = call_api(calls.history(limit, before), state)["revisions"]
    if output is not Output.table:
        print_items(revisions, output)
        return
    rows = [
        (str(r["revision"]), _format_time(r["time"]), r["author"], changes_text(r["changed"]), r["message"])
        for r in revisions
    ]
    columns: tuple[str, ...] = ("REVISION", "TIME", "AUTHOR", "CHANGES", "MESSAGE")
    states = [_push_state(r) for r in revisions]
    if any(states):
        columns = ("REVISION", "STATE", *columns[1:])
        rows = [(number, state, *rest) for (number, *rest), state in zip(rows, states, strict=True)]
    print_table(columns, rows)
    if not rows:
        echo("no revisions yet: `mesh apply` creates the first")


def show(revision: RevisionArgument, output: OutputOption = Output.table, state: StateOption = None) -> None:
    """Show one revision: author, time, message, changes, and all policies as of it.

    \b
    Example:
      mesh show 3
      mesh show 3 -o yaml > revision-3.yaml
    """
    detail = call_api(calls.revision(revision), state)
    if output is Output.json:
        print_data({**detail["info"], "documents": detail["documents"]}, output)
        return
    if output is Output.table:
        info = detail["info"]
        time = _format_time(info["time"])
        echo(sanitize(f"revision {info['revision']} · {time} · {info['author']} · {info['message']}"))
        if state_text := _push_state(info):
            reason = info.get("withdrawn", "")
            echo(sanitize(f"{state_text}: {reason}" if reason else state_text))
        for change in info["changed"]:
            echo(sanitize(f"{change['action']} {change['kind']}/{change['name']}"))
        echo("")
    print_documents(detail["documents"], output)


def rollback(
    revision: Annotated[
        int | None,
        typer.Argument(
            metavar="REV",
            min=0,
            max=2**53,
            help="Number of a revision; 0 has no policies. [default: undo the last change]",
        ),
    ] = None,
    *,
    wait: WaitOption = False,
    timeout: TimeoutOption = 60.0,
    dry_run: DryRunOption = False,
    no_verify: NoVerifyOption = False,
    immediate: ImmediateOption = False,
    message: MessageOption = "",
    base: BaseOption = None,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Restore the policies of an old revision, as a new revision. Without a number it undoes the last change.

    \b
    Example:
      mesh rollback
      mesh rollback 3 -m "the new weights were wrong" --wait
      mesh rollback --immediate
    """
    if revision is None:
        last, revision = _last_two(state)
        # Not undone: a change that nobody has seen yet.
        base = last if base is None else base
    options = change_options(base, message, dry_run=dry_run, verify=not no_verify, immediate=immediate)
    result = call_api(calls.rollback(revision, options), state)
    print_changes(result, output, dry_run=dry_run, wait=wait)
    if wait and not dry_run:
        wait_for_revision(result, timeout, state)


def _last_two(state: Path | None) -> tuple[int, int]:
    """The newest revision and the one before it.

    Raises InputError without two, and if the one before was withdrawn: the mesh has undone it by itself, and
    its harm must not come back by an undo of that.
    """
    revisions = call_api(calls.history(2), state)["revisions"]
    if len(revisions) < 2:
        raise InputError(
            "nothing to undo: the mesh has no earlier revision, see `mesh history`; "
            "`mesh rollback 0` removes every policy"
        )
    last, before = revisions
    if before.get("withdrawn"):
        raise InputError(
            f"the last change is undone already: revision {before['revision']} was withdrawn; "
            "`mesh rollback REV` restores an older one, see `mesh history`"
        )
    return last["revision"], before["revision"]


def _push_state(info: Mapping[str, Any]) -> str:
    """What the push in waves has made of a revision; empty for one that it has put in force.

    A control plane of an earlier release does not say.
    """
    if info.get("on_trial"):
        return "on trial"
    return "withdrawn" if info.get("withdrawn") else ""


def _format_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def changes_text(changed: list[dict[str, Any]]) -> str:
    texts = [f"{change['action']} {change['kind']}/{change['name']}" for change in changed]
    hidden = len(texts) - MAX_LISTED_CHANGES
    return ", ".join(texts[:MAX_LISTED_CHANGES]) + (f", {hidden} more" if hidden > 0 else "")
