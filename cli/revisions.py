"""`mesh history`, `mesh show`, `mesh rollback`: the mesh's past."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from meshwright.cli import output as output_module
from meshwright.cli.apply import newest_revision, print_changes, wait_for_revision
from meshwright.cli.get import print_documents
from meshwright.cli.http import call_api
from meshwright.cli.options import (
    BaseOption,
    DryRunOption,
    MessageOption,
    Output,
    OutputOption,
    StateOption,
    TimeoutOption,
    WaitOption,
    author,
)
from meshwright.control_plane.api import calls

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
    revisions = call_api(calls.history(limit, before), state)["revisions"]
    if output is not Output.table:
        output_module.print_data(revisions, output)
        return
    rows = [
        (str(r["revision"]), _format_time(r["time"]), r["author"], _changes(r["changed"]), r["why"])
        for r in revisions
    ]
    output_module.print_table(("REVISION", "TIME", "AUTHOR", "CHANGES", "WHY"), rows)
    if not rows:
        output_module.echo("no revisions yet: `mesh apply` makes the first")


def show(revision: RevisionArgument, output: OutputOption = Output.table, state: StateOption = None) -> None:
    """Show one revision: who, when, why, what it changed, and all policies that stood after it.

    \b
    Example:
      mesh show 3
      mesh show 3 -o yaml > revision-3.yaml
    """
    reply = call_api(calls.revision(revision), state)
    if output is Output.json:
        output_module.print_data({**reply["info"], "documents": reply["documents"]}, output)
        return
    if output is Output.table:
        info = reply["info"]
        output_module.echo(
            f"revision {info['revision']} · {_format_time(info['time'])} · {info['author']} · {info['why']}"
        )
        for change in info["changed"]:
            output_module.echo(f"{change['action']} {change['kind']}/{change['name']}")
        output_module.echo("")
    print_documents(reply["documents"], output)


def rollback(
    revision: RevisionArgument,
    *,
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    dry_run: DryRunOption = False,
    why: MessageOption = "",
    base: BaseOption = None,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Make the policies of an old revision the newest ones, as a new revision.

    \b
    Example:
      mesh rollback 3 -m "the new weights were wrong" --wait
    """
    change = calls.ChangeOptions(newest_revision(state) if base is None else base, why, author(), dry_run)
    applied = call_api(calls.rollback(revision, change), state)
    print_changes(applied, output, dry_run=dry_run)
    if wait and not dry_run:
        wait_for_revision(applied, timeout, state)


def _format_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _changes(changed: list[dict[str, Any]]) -> str:
    words = [f"{change['action']} {change['kind']}/{change['name']}" for change in changed]
    return ", ".join(words[:3]) + (f", {len(words) - 3} more" if len(words) > 3 else "")
