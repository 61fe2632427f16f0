"""`mesh apply` and `mesh delete`: change the mesh's policies, and wait until its sidecars follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from meshwright.cli import output as output_module
from meshwright.cli.errors import CommandError, warn
from meshwright.cli.http import call_api
from meshwright.cli.options import (
    BaseOption,
    DryRunOption,
    FilesOption,
    MessageOption,
    Output,
    OutputOption,
    StateOption,
    TimeoutOption,
    WaitOption,
    author,
)
from meshwright.control_plane.api import calls, errors
from meshwright.control_plane.errors import InputError

MAX_NAMED_PROXIES = 5
"""Proxies that a warning names."""


def apply(
    files: FilesOption,
    *,
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    dry_run: DryRunOption = False,
    why: MessageOption = "",
    base: BaseOption = None,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Create or change policies from files; all of them or none, as one revision.

    \b
    Exit codes: 0 applied · 2 bad input · 3 unreachable · 4 --wait timed out ·
    5 rejected by Envoy · 6 somebody else changed the mesh meanwhile.
    With --wait only this change is judged: what some Envoy still refuses of an older one is a warning.

    \b
    Example:
      mesh apply -f policies/retry.yaml -m "inventory fails now and then"
      mesh apply -f policies/ --wait
      cat retry.yaml | mesh apply -f - --dry-run
    """
    from meshwright.cli.documents import load_documents

    sourced = load_documents(files)
    change = calls.ChangeOptions(newest_revision(state) if base is None else base, why, author(), dry_run)
    applied = call_api(calls.apply(sourced, change), state)
    print_changes(applied, output, dry_run=dry_run)
    if wait and not dry_run:
        wait_for_revision(applied, timeout, state)


def delete(
    kind: Annotated[str, typer.Argument(help="The kind, or leave it out with -f.")] = "",
    name: Annotated[str, typer.Argument(help="The document's name.")] = "",
    *,
    files: FilesOption = [],  # noqa: B006  typer copies it
    wait: WaitOption = False,
    timeout: TimeoutOption = 30.0,
    dry_run: DryRunOption = False,
    why: MessageOption = "",
    base: BaseOption = None,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Delete a policy, or all that files name; all of them or none.

    \b
    Example:
      mesh delete retry inventory-retry
      mesh delete -f policies/ -m "not needed any more"
    """
    refs = _refs(kind, name, files)
    change = calls.ChangeOptions(newest_revision(state) if base is None else base, why, author(), dry_run)
    applied = call_api(calls.delete(refs, change), state)
    print_changes(applied, output, dry_run=dry_run)
    if wait and not dry_run:
        wait_for_revision(applied, timeout, state)


def newest_revision(state: Path | None) -> int:
    """The number of the newest revision; 0 in a new mesh."""
    revisions = call_api(calls.history(limit=1), state)["revisions"]
    return int(revisions[0]["revision"]) if revisions else 0


def print_changes(applied: Any, output: Output, *, dry_run: bool) -> None:
    """Print what changed; warnings go to stderr."""
    for warning in applied.get("warnings", ()):
        warn(f"warning: {warning}")
    if output is not Output.table:
        output_module.print_data({"revision": applied["revision"], "changed": applied["changed"]}, output)
        return
    output_module.echo(
        f"revision {applied['revision']}" + (" (dry run: nothing was changed)" if dry_run else "")
    )
    if applied.get("reaches"):
        output_module.echo(f"configures anew: {', '.join(applied['reaches'])}")
    for change in applied["changed"]:
        output_module.echo(f"{change['action']} {change['kind']}/{change['name']}")


def wait_for_revision(applied: Any, timeout: float, state: Path | None) -> None:
    """Return when every connected sidecar has taken what was applied; raises VerbError (4, 5) when not."""
    revision = applied["revision"]
    reply = call_api(calls.wait(revision, timeout), state)
    if reply["state"] == "rejected":
        lines = [
            f"{proxy['name']}: rejected revision {revision}: {proxy['error']}" for proxy in reply["proxies"]
        ]
        raise CommandError(errors.REJECTED, "\n".join(lines))
    if reply["state"] == "timeout":
        behind = ", ".join(f"{p['name']} ({p['state']}, revision {p['revision']})" for p in reply["proxies"])
        missing = behind or "the control plane has not taken it up"
        words = f"revision {revision} is not everywhere after {timeout:g} s: {missing}: see `mesh status`"
        raise CommandError(errors.TIMED_OUT, words)
    if reply["refusing"]:
        _check_unchanged_accepted(applied, state)
        warn(_older_rejection_warning(reply["refusing"]))


def _check_unchanged_accepted(applied: Any, state: Path | None) -> None:
    """Raises VerbError (5) when Envoy refuses a document that was given as it is already."""
    given = {(one["kind"], one["name"]) for one in applied["changed"] if one["action"] == "unchanged"}
    policies = call_api(calls.status(), state)["policies"] if given else ()
    lines = [
        f"{policy['kind']}/{policy['name']}: rejected before: {condition['message']}"
        for policy in policies
        for condition in policy["conditions"]
        if (policy["kind"], policy["name"]) in given
        and (condition["type"], condition["status"]) == ("Rejected", "True")
    ]
    if lines:
        raise CommandError(errors.REJECTED, "\n".join(lines))


def _older_rejection_warning(refusing: Sequence[Mapping[str, Any]]) -> str:
    """One line of who refuses what an older revision brought."""
    names = ", ".join(proxy["name"] for proxy in refusing[:MAX_NAMED_PROXIES])
    more = f" and {len(refusing) - MAX_NAMED_PROXIES} more" if len(refusing) > MAX_NAMED_PROXIES else ""
    still = f"warning: this change stands, but {names}{more} still refuse" + "s" * (len(refusing) == 1)
    words = " ".join(refusing[0]["error"].split())
    return f"{still} what revision {refusing[0]['refused']} brought: {words}: see `mesh status`"


def _refs(kind: str, name: str, files: list[str]) -> list[calls.DocumentRef]:
    if files and not kind:
        from meshwright.cli.documents import load_documents

        documents = [sourced.document for sourced in load_documents(files)]
        return [calls.DocumentRef(document["kind"], document["metadata"]["name"]) for document in documents]
    if not kind or not name or files:
        raise InputError("name what to delete: `mesh delete KIND NAME` or `mesh delete -f PATH`")
    return [calls.DocumentRef(kind, name)]
