"""`mesh sync`: the mesh follows a folder or a branch, and says where it differs from that."""

from __future__ import annotations

import re
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from meshwright.cli.documents import InvalidFilesError, located
from meshwright.cli.durations import duration_parser
from meshwright.cli.errors import exit_code, print_error, warn
from meshwright.cli.gitops.sources import FolderSource, GitSource, PolicySource, SourceError, is_repository
from meshwright.cli.gitops.tree import (
    Tree,
    labelled,
    last_made,
    last_version,
    load_tree,
    lost_policies,
    was_withdrawn,
)
from meshwright.cli.http import call_api
from meshwright.cli.options import MAX_AUTHOR, Output, OutputOption, StateOption
from meshwright.cli.output import echo, flush, json_text, sanitize
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.errors import ApiError, UnreachableError
from meshwright.control_plane.api.sync_marks import LABEL
from meshwright.control_plane.errors import InputError, MeshError, StoreError

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")

SyncState = Literal["applied", "synced", "drifted"]

MAX_REVISIONS = 1000
"""Revisions that are searched for the last one of the sync: as many as the API returns at once."""

MAX_NAMED = 3
"""Policies that a failure names."""


class LostLabelError(MeshError):
    """Somebody else has applied all policies of the sync, without its label."""


TEMPORARY = (SourceError, UnreachableError, StoreError, LostLabelError)
"""What may be better the next time, with the same version."""


def sync(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A folder, or a git repository: a URL or a path.")
    ],
    *,
    branch: Annotated[
        str, typer.Option("--branch", metavar="NAME", help="A branch; makes SOURCE a repository.")
    ] = "",
    path: Annotated[
        str, typer.Option("--path", metavar="DIR", help="A folder in the repository. [default: all of it]")
    ] = "",
    name: Annotated[
        str,
        typer.Option("--name", metavar="NAME", help="Name of the sync, if one mesh has several."),
    ] = "default",
    interval: Annotated[
        float,
        typer.Option(
            "--interval",
            metavar="DURATION",
            parser=duration_parser(1, 86400),
            show_default=False,
            help="How often to look. [default: 30s]",
        ),
    ] = 30.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, and exit.")] = False,
    correct: Annotated[
        bool, typer.Option("--correct-drift", help="Undo what others change of the synced policies.")
    ] = False,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Keep policies as the files of a folder or of a git branch say, until Ctrl-C.

    Each new version becomes a revision, of the commit's author and with its message, if it is valid and Envoy
    accepts it. Otherwise the mesh stays as it is, and the reason is said once. What was applied by a sync of
    this name and is not in the files any more is deleted; other policies are left alone. What somebody else
    changes of the synced policies is reported as drift, and stays until the next version.

    \b
    Exit codes of --once: 0 as the files say · 1 drifted, labels lost, or source away · 2 invalid files
    · 3 unreachable

    \b
    Example:
      mesh sync policies/
      mesh sync https://git.example/shop/mesh.git --branch main --path policies --interval 1m
      mesh sync ./mesh.git --once
    """
    if not NAME.fullmatch(name):
        raise InputError(f"--name {name}: use lower-case letters, digits and -, at most 63")
    with ExitStack() as stack:
        if branch or is_repository(source):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mesh-sync-"))
            origin: PolicySource = GitSource(source, branch, path, Path(folder))
        else:
            origin = FolderSource(Path(source) / path)
        follower = Follower(origin, name, state, corrects=correct)
        if once:
            step = follower.step()
            _show(step, origin.shown, output)
            if step.state == "drifted":
                raise typer.Exit(1)
            return
        _follow(follower, origin.shown, interval, output)


@dataclass(frozen=True, slots=True)
class SyncStep:
    """What a look at the source led to. `changed`: `ACTION KIND/NAME`, of a drift what would correct it."""

    state: SyncState
    version: str
    revision: int
    changed: tuple[str, ...] = ()
    author: str = ""
    subject: str = ""

    def repeats(self, last: SyncStep) -> bool:
        """Whether it says nothing new after another one."""
        if self.state == "synced":
            return last.state != "drifted" and self.version == last.version
        return self.state == "drifted" and self.changed == last.changed


class Follower:
    """Makes the mesh what the source says; each `step` may raise a MeshError and change nothing."""

    def __init__(
        self, source: PolicySource, name: str, state: Path | None, *, corrects: bool = False
    ) -> None:
        self._source = source
        self._name = name
        self._state = state
        self._corrects = corrects
        self._applied = ""

    def step(self) -> SyncStep:
        """Read the source once, and apply it if it has changed.

        Raises SourceError, InvalidFilesError or another InputError for its files, LostLabelError, ApiError,
        UnreachableError.
        """
        tree = self._source.read()
        loaded = load_tree(tree)
        if loaded.problems:
            raise InvalidFilesError(loaded.problems)
        self._applied = self._applied or self._last_version()
        if not self._corrects:
            self._check_labels()
        is_known = tree.version == self._applied and not self._may_correct(tree.version)
        options = calls.ChangeOptions(
            message=tree.message(self._name),
            author=sanitize(tree.author)[:MAX_AUTHOR],
            dry_run=is_known,
            verify=not is_known,
        )
        with located(loaded):
            call = calls.apply(labelled(loaded, self._name), options, prune={LABEL: self._name})
            result = call_api(call, self._state)
        self._applied = tree.version
        return _step(tree, result, is_dry_run=is_known)

    def _check_labels(self) -> None:
        """Raise LostLabelError if no policy has the sync's label: it could not tell what to delete."""
        made = last_made(self._history(), self._name)
        if not made:
            return
        current = call_api(calls.policies(), self._state)["documents"]
        synced = call_api(calls.revision(made), self._state)["documents"]
        if lost := lost_policies(self._name, synced, current):
            more = f" and {len(lost) - MAX_NAMED} more" if len(lost) > MAX_NAMED else ""
            raise LostLabelError(
                f"sync {self._name}: no policy has its label {LABEL} any more: somebody else applied"
                f" {', '.join(lost[:MAX_NAMED])}{more} since revision {made}."
                f" --correct-drift takes back those in the files; to begin without them, delete them"
            )

    def _may_correct(self, version: str) -> bool:
        """Whether drift is undone: not what the mesh itself has put back, because the version did harm."""
        return self._corrects and not was_withdrawn(self._history(), self._name, version)

    def _last_version(self) -> str:
        """The version that an earlier process applied: what was changed since is drift, and not lost."""
        return last_version(self._history(), self._name)

    def _history(self) -> list[Mapping[str, Any]]:
        revisions: list[Mapping[str, Any]] = call_api(calls.history(MAX_REVISIONS), self._state)["revisions"]
        return revisions


def _step(tree: Tree, result: Mapping[str, Any], *, is_dry_run: bool) -> SyncStep:
    changed = tuple(
        f"{change['action']} {change['kind']}/{change['name']}"
        for change in result["changed"]
        if change["action"] != "unchanged"
    )
    for warning in result.get("warnings", ()):
        warn(f"warning: {warning}")
    state: SyncState = "synced" if not changed else "drifted" if is_dry_run else "applied"
    return SyncStep(state, tree.version, result["revision"], changed, tree.author, tree.subject)


def _follow(follower: Follower, shown: str, interval: float, output: Output) -> None:
    """Step until Ctrl-C or SIGTERM. The same outcome, and the same failure, is said once."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    last: SyncStep | None = None
    failure = ""
    try:
        while True:
            try:
                step = follower.step()
            except (InputError, SourceError, LostLabelError, ApiError, UnreachableError) as error:
                if _failure_key(error) != failure:
                    failure = _failure_key(error)
                    _complain(error, shown)
            else:
                if failure or last is None or not step.repeats(last):
                    _show(step, shown, output)
                last, failure = step, ""
            time.sleep(interval)
    except KeyboardInterrupt:
        raise typer.Exit from None


def _complain(error: MeshError, shown: str) -> None:
    print_error(error)
    again = "tried again" if isinstance(error, TEMPORARY) else "waiting for another version"
    warn(f"{shown}: not applied, the mesh stays as it is; {again} (exit code {exit_code(error)} of --once)")


def _failure_key(error: MeshError) -> str:
    """What tells a failure from the one before: its problems, which name the version."""
    return (
        "\n".join(map(str, error.problems)) if isinstance(error, ApiError) and error.problems else str(error)
    )


def _show(step: SyncStep, shown: str, output: Output) -> None:
    if output is not Output.table:
        echo(json_text(asdict(step)))
    elif step.state == "applied":
        echo(sanitize(f"revision {step.revision}: {step.version} by {step.author}: {step.subject}"))
    elif step.state == "synced":
        echo(sanitize(f"synced: {shown} at {step.version} is what the mesh has, at revision {step.revision}"))
    else:
        echo(
            sanitize(
                f"drifted: {shown} at {step.version} differs from revision {step.revision}: a sync would have"
            )
        )
    for change in step.changed if output is Output.table else ():
        echo(sanitize(f"  {change}"))
    flush()
