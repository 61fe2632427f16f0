"""`mesh history`, `mesh show`, `mesh rollback`: the mesh's past."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli import console
from cli.connection import ask
from cli.edit import await_revision, newest, report
from cli.options import (
    BaseOption,
    DryRunOption,
    Output,
    OutputOption,
    StateOption,
    TimeoutOption,
    WaitOption,
    WhyOption,
    author,
)
from cli.read import print_documents
from control_plane.api import operations

RevisionArgument = Annotated[
    int, typer.Argument(metavar="REV", min=0, max=2**53, help="A revision's number.")
]


def history(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="At most so many.")] = 20,
    before: Annotated[int | None, typer.Option("--before", min=0, help="Only those below it.")] = None,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """List revisions, newest first: who changed what, when and why.

    \b
    Example:
      mesh history -n 5
    """
    revisions = ask(operations.history(limit, before), state)["revisions"]
    if output is not Output.table:
        console.data(revisions, output)
        return
    rows = [
        (str(r["revision"]), _when(r["time"]), r["author"], _changes(r["changed"]), r["why"])
        for r in revisions
    ]
    console.table(("REVISION", "TIME", "AUTHOR", "CHANGES", "WHY"), rows)
    if not rows:
        console.emit("no revisions yet: `mesh apply` makes the first")


def show(revision: RevisionArgument, output: OutputOption = Output.table, state: StateOption = None) -> None:
    """Show one revision: who, when, why, what it changed, and all policies that stood after it.

    \b
    Example:
      mesh show 3
      mesh show 3 -o yaml > revision-3.yaml
    """
    reply = ask(operations.revision(revision), state)
    if output is Output.json:
        console.data({**reply["info"], "documents": reply["documents"]}, output)
        return
    if output is Output.table:
        info = reply["info"]
        console.emit(
            f"revision {info['revision']} · {_when(info['time'])} · {info['author']} · {info['why']}"
        )
        for change in info["changed"]:
            console.emit(f"{change['action']} {change['kind']}/{change['name']}")
        console.emit("")
    print_documents(reply["documents"], output)


def rollback(
    revision: RevisionArgument,
    *,
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    dry_run: DryRunOption = False,
    why: WhyOption = "",
    base: BaseOption = None,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Make the policies of an old revision the newest ones, as a new revision.

    \b
    Example:
      mesh rollback 3 -m "the new weights were wrong" --wait
    """
    change = operations.Change(newest(state) if base is None else base, why, author(), dry_run)
    applied = ask(operations.rollback(revision, change), state)
    report(applied, output, dry_run=dry_run)
    if wait and not dry_run:
        await_revision(applied, timeout, state)


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _changes(changed: list[dict[str, Any]]) -> str:
    words = [f"{change['action']} {change['kind']}/{change['name']}" for change in changed]
    return ", ".join(words[:3]) + (f", {len(words) - 3} more" if len(words) > 3 else "")
