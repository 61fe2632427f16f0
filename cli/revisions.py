"""`mesh history`, `mesh show` and `mesh rollback`: revisions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from meshwright.cli.apply import change_options, print_changes, wait_for_revision
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
)
from meshwright.cli.output import echo, print_data, print_table, sanitize
from meshwright.control_plane.api import calls

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
        print_data(revisions, output)
        return
    rows = [
        (str(r["revision"]), _format_time(r["time"]), r["author"], _changes(r["changed"]), r["message"])
        for r in revisions
    ]
    print_table(("REVISION", "TIME", "AUTHOR", "CHANGES", "MESSAGE"), rows)
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
        for change in info["changed"]:
            echo(sanitize(f"{change['action']} {change['kind']}/{change['name']}"))
        echo("")
    print_documents(detail["documents"], output)


def rollback(
    revision: RevisionArgument,
    *,
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    dry_run: DryRunOption = False,
    message: MessageOption = "",
    base: BaseOption = None,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Restore the policies of an old revision, as a new revision.

    \b
    Example:
      mesh rollback 3 -m "the new weights were wrong" --wait
    """
    options = change_options(base, message, dry_run=dry_run)
    result = call_api(calls.rollback(revision, options), state)
    print_changes(result, output, dry_run=dry_run)
    if wait and not dry_run:
        wait_for_revision(result, timeout, state)


def _format_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _changes(changed: list[dict[str, Any]]) -> str:
    texts = [f"{change['action']} {change['kind']}/{change['name']}" for change in changed]
    hidden = len(texts) - MAX_LISTED_CHANGES
    return ", ".join(texts[:MAX_LISTED_CHANGES]) + (f", {hidden} more" if hidden > 0 else "")
