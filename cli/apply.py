"""`mesh apply` and `mesh delete`: change policies, and wait for the sidecars."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from meshwright.cli.errors import CommandError, warn
from meshwright.cli.http import call_api
from meshwright.cli.options import (
    BaseOption,
    DryRunOption,
    FilesOption,
    ImmediateOption,
    LabelOption,
    MessageOption,
    NoVerifyOption,
    Output,
    OutputOption,
    PruneOption,
    SkipUnknownOption,
    StateOption,
    StrictOption,
    TimeoutOption,
    VerboseOption,
    WaitOption,
    author,
)
from meshwright.cli.output import echo, print_data, sanitize
from meshwright.control_plane.api import calls, errors
from meshwright.control_plane.api.problem_text import proxy_message
from meshwright.control_plane.errors import InputError

MAX_NAMED_PROXIES = 5
"""Maximum proxies that a warning lists by name."""

PATIENCE = 3.0
"""Seconds after which a wait says what it waits for."""

WAVE_SECONDS = 2.0
"""Seconds between two looks at how far a push in waves has come."""


def apply(
    files: FilesOption,
    *,
    skip_unknown: SkipUnknownOption = False,
    verbose: VerboseOption = False,
    prune: PruneOption = False,
    label: LabelOption = [],  # noqa: B006  typer copies it
    wait: WaitOption = False,
    timeout: TimeoutOption = 60.0,
    strict: StrictOption = None,
    dry_run: DryRunOption = False,
    no_verify: NoVerifyOption = False,
    immediate: ImmediateOption = False,
    message: MessageOption = "",
    base: BaseOption = None,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Create or update policies from files, all or none, as one revision.

    With --prune and --label, the files are all policies that have the labels: others that the mesh has are
    deleted, and each policy in the files must have the labels, so that it can be pruned later. With --prune
    and --expect-revision, the files are all policies of the mesh, as `mesh export` writes them.

    With --strict, each reference is checked first: services, gateways, routes, rules, listeners, subsets and
    ports that the files name must exist, in the mesh or in the files. Without it, one that does not exist yet
    is a warning.

    \b
    Exit codes: 0 applied · 2 bad input · 3 unreachable · 4 --wait timed out ·
    5 rejected by Envoy · 6 the mesh was changed in the meantime.
    With --wait, only this change counts: an older one that an Envoy still rejects is a warning.

    \b
    Example:
      mesh apply -f policies/retry.yaml -m "inventory fails intermittently"
      mesh apply -f policies/ --wait
      mesh apply -f policies/ --strict --dry-run
      cat retry.yaml | mesh apply -f - --dry-run
      mesh apply -f policies/ --prune --label team=shop --dry-run
      mesh apply -f exported/ --prune --expect-revision 12
    """
    from meshwright.cli.documents import check_labels, located, read_documents, sourced

    labels = parse_labels(label, prune=prune, expected=base)
    loaded = read_documents(files, skip_unknown=skip_unknown, verbose=verbose)
    check_labels(loaded, labels or {})
    options = change_options(base, message, dry_run=dry_run, verify=not no_verify, immediate=immediate)
    with located(loaded):
        strict = wait if strict is None else strict
        result = call_api(calls.apply(sourced(loaded), options, prune=labels, strict=strict), state)
    print_changes(result, output, dry_run=dry_run, wait=wait)
    if wait and not dry_run:
        wait_for_revision(result, timeout, state)


def parse_labels(texts: Sequence[str], *, prune: bool, expected: int | None) -> dict[str, str] | None:
    """The labels of --prune, none for every policy; None without --prune.

    Raises InputError for --prune without labels that does not say which revision the files are about: it
    would delete what others have added since.
    """
    if not prune:
        if texts:
            raise InputError("--label is for --prune: see `mesh apply --help`")
        return None
    if not texts and expected is None:
        raise InputError(
            "--prune needs --label KEY=VALUE, which says what is to be deleted if the files do not have it; "
            "or --expect-revision REV, if the files are all policies of that revision (`mesh export`)"
        )
    labels = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not key or not separator:
            raise InputError(f"--label {text}: expected KEY=VALUE")
        labels[key] = value
    return labels


def delete(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="Kind of the policy, or KIND/NAME.")] = "",
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the policy.")] = "",
    *,
    files: FilesOption = [],  # noqa: B006  typer copies it
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
    """Delete a policy, or every policy in files, all or none.

    \b
    Example:
      mesh delete retry inventory-retry
      mesh delete retry/inventory-retry
      mesh delete -f policies/ -m "no longer needed"
    """
    refs = _policy_refs(kind, name, files)
    options = change_options(base, message, dry_run=dry_run, verify=not no_verify, immediate=immediate)
    result = call_api(calls.delete(refs, options), state)
    print_changes(result, output, dry_run=dry_run, wait=wait)
    if wait and not dry_run:
        wait_for_revision(result, timeout, state)


def change_options(
    base: int | None, message: str, *, dry_run: bool, verify: bool = True, immediate: bool = False
) -> calls.ChangeOptions:
    """The options of a change. Without a `base` it builds on the newest revision, whichever that becomes."""
    return calls.ChangeOptions(base, message, author(), dry_run, verify, immediate)


def print_warnings(result: Any) -> None:
    """Print the warnings of a result to stderr."""
    for warning in result.get("warnings", ()):
        warn(f"warning: {warning}")


def print_changes(result: Any, output: Output, *, dry_run: bool, wait: bool) -> None:
    """Print what changed. Warnings go to stderr. `wait`: the waves of its push are shown afterwards."""
    print_warnings(result)
    if output is not Output.table:
        print_data({"revision": result["revision"], "changed": result["changed"]}, output)
        return
    echo(f"revision {result['revision']}" + (" (dry run: nothing changed)" if dry_run else ""))
    if result.get("affected_proxies"):
        echo(sanitize(f"affected proxies: {', '.join(result['affected_proxies'])}"))
    for change in result["changed"]:
        echo(sanitize(f"{change['action']} {change['kind']}/{change['name']}"))
    if result.get("on_trial") and not wait:
        warn(
            "on trial: it reaches the affected proxies in waves, see `mesh push status`; --wait waits for all"
        )


def wait_for_revision(result: Any, timeout: float, state: Path | None) -> None:
    """Wait until every connected sidecar has ACKed a revision; raises CommandError (exit code 4 or 5)."""
    revision = result["revision"]
    wait = _wait(revision, timeout, state, in_waves=result.get("on_trial", False))
    if wait.get("withdrawn"):
        raise CommandError(errors.REJECTED, f"revision {revision} was withdrawn: {wait['withdrawn']}")
    if wait["state"] == "rejected":
        lines = [
            f"{proxy['name']}: rejected revision {revision}: {proxy['error']}" for proxy in wait["proxies"]
        ]
        raise CommandError(errors.REJECTED, "\n".join(lines))
    if wait["state"] == "timeout":
        behind = ", ".join(
            _behind(p) or f"{p['name']} ({p['state']}, revision {p['revision']})" for p in wait["proxies"]
        )
        missing = wait.get("waves") or behind or "the control plane has not loaded it"
        raise CommandError(
            errors.TIMED_OUT,
            f"revision {revision} is not ACKed everywhere after {timeout:g} s: {missing}: see `mesh status`, "
            "or take a proxy out with `mesh proxy NAME evict`",
        )
    if wait["rejecting_older"]:
        _check_unchanged_accepted(result, state)
        warn(_older_rejection_warning(wait["rejecting_older"]))
    if wait["pending_older"]:
        names = ", ".join(proxy["name"] for proxy in wait["pending_older"][:MAX_NAMED_PROXIES])
        warn(f"not waited for, because nothing changes there: {names}: an older revision is still not ACKed")


def _wait(revision: int, timeout: float, state: Path | None, *, in_waves: bool) -> Any:
    """The WaitResult of a revision; until then a line on stderr for each step of a push in waves, or for what
    sidecars wait for."""
    deadline = time.monotonic() + timeout
    shown = ""
    while True:
        left = max(0.0, deadline - time.monotonic())
        wait = call_api(calls.wait(revision, min(left, WAVE_SECONDS if in_waves else PATIENCE)), state)
        if wait["state"] != "timeout" or time.monotonic() >= deadline:
            return wait
        progress = wait.get("waves", "") or "; ".join(filter(None, map(_behind, wait["proxies"])))
        if progress and progress != shown:
            warn(sanitize(progress))
        shown = progress


def _behind(proxy: Any) -> str:
    """What a proxy waits for; empty if that is not known."""
    message = proxy_message(proxy)
    return f"{proxy['name']} {message}" if message and proxy["state"] == "pending" else ""


def _check_unchanged_accepted(result: Any, state: Path | None) -> None:
    """Raise CommandError (exit code 5) if Envoy rejects a document that was applied again unchanged."""
    unchanged = {(doc["kind"], doc["name"]) for doc in result["changed"] if doc["action"] == "unchanged"}
    policies = call_api(calls.status(), state)["policies"] if unchanged else ()
    lines = [
        f"{policy['kind']}/{policy['name']}: rejected earlier: {condition['message']}"
        for policy in policies
        for condition in policy["conditions"]
        if (policy["kind"], policy["name"]) in unchanged
        and (condition["type"], condition["status"]) == ("Rejected", "True")
    ]
    if lines:
        raise CommandError(errors.REJECTED, "\n".join(lines))


def _older_rejection_warning(proxies: Sequence[Mapping[str, Any]]) -> str:
    """One line about the proxies that still reject an older revision."""
    names = ", ".join(proxy["name"] for proxy in proxies[:MAX_NAMED_PROXIES])
    more = f" and {len(proxies) - MAX_NAMED_PROXIES} more" if len(proxies) > MAX_NAMED_PROXIES else ""
    verb = "rejects" if len(proxies) == 1 else "reject"
    error = " ".join(proxies[0]["error"].split())
    return (
        f"warning: this change is applied, but {names}{more} still {verb} "
        f"revision {proxies[0]['rejected_revision']}: {error}: see `mesh status`"
    )


def _policy_refs(kind: str, name: str, files: list[str]) -> list[calls.DocumentRef]:
    if files and not kind:
        from meshwright.cli.documents import load_documents

        documents = [loaded.document for loaded in load_documents(files)]
        return [calls.DocumentRef(document["kind"], document["metadata"]["name"]) for document in documents]
    kind, name = split_ref(kind, name)
    if not kind or not name or files:
        raise InputError(
            "nothing to delete: use `mesh delete KIND NAME`, `mesh delete KIND/NAME` or `mesh delete -f PATH`"
        )
    return [calls.DocumentRef(kind, name)]


def split_ref(kind: str, name: str) -> tuple[str, str]:
    """Kind and name from two arguments or from `KIND/NAME`."""
    if name or "/" not in kind:
        return kind, name
    kind, _, name = kind.partition("/")
    return kind, name
