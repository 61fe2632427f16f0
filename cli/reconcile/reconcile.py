"""Shows and makes the changes to a running mesh that an application, or a part of it, asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from meshwright.cli.options import Output
from meshwright.cli.output import echo, print_data, print_table, sanitize
from meshwright.cli.progress import print_progress
from meshwright.cli.reconcile.applied import AppliedApplication
from meshwright.cli.reconcile.changes import Change, plan_changes
from meshwright.cli.reconcile.policies import change_policies
from meshwright.cli.reconcile.runner import (
    ChangeRunner,
    changes_to,
    changing,
    forget_services,
    running_workloads,
)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What to change. `services`: only these, empty: all that the application has or had.

    `reasons` as in `plan_changes`. `policies`: look at those of the application; `apply_policies`: apply
    them.
    """

    applied: AppliedApplication
    services: Collection[str] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    policies: bool = False
    apply_policies: bool = False
    dry_run: bool = False
    timeout: float = 60.0
    output: Output = Output.table


async def reconcile(request: Reconciliation, state: Path) -> None:
    """Make a running mesh run what is asked for, and print what that changes.

    Raises InputError if another command is doing this, CommandError for the first change that fails.
    """
    with changing(state):
        changes = await asyncio.to_thread(_prepare, request, state)
        if request.dry_run:
            return
        report = print_progress if request.output is Output.table else lambda *_: None
        await ChangeRunner(state, request.timeout, report).run(changes)
        await asyncio.to_thread(_finish, request, changes, state)


def _prepare(request: Reconciliation, state: Path) -> tuple[Change, ...]:
    """Apply the policies, if asked for, and print and return the changes to make."""
    running = [item for item in running_workloads(state) if _concerns(request, item.service)]
    desired = [item for item in request.applied.workloads(state) if _concerns(request, item.service)]
    entries = request.applied.application.spec.services
    empty = {entry.name for entry in entries} - {item.service for item in desired}
    reasons = {**dict.fromkeys(empty, "0 instances"), **request.reasons}
    changes = changes_to(desired, running, state, reasons)
    paths = request.applied.policy_paths if request.policies else []
    applying = request.apply_policies and not request.dry_run
    # Before anything starts: a new service never runs without the rules for who may call it.
    policies = change_policies(paths, state, dry_run=not applying)
    _show(request, changes, len(desired), policies, applied=applying)
    return changes


def _finish(request: Reconciliation, changes: Sequence[Change], state: Path) -> None:
    request.applied.save(state)
    if not request.services:
        entries = request.applied.application.spec.services
        forget_services(changes, {entry.name for entry in entries}, state)


def show_first_start(request: Reconciliation, state: Path) -> None:
    """Print what a start would run, where nothing runs yet."""
    desired = request.applied.workloads(state)
    _show(request, plan_changes((), desired), len(desired), [], applied=False)


def _concerns(request: Reconciliation, service: str) -> bool:
    return not request.services or service in request.services


def _show(
    request: Reconciliation,
    changes: Sequence[Change],
    desired: int,
    policies: list[dict[str, Any]],
    *,
    applied: bool,
) -> None:
    unchanged = desired - sum(change.new is not None for change in changes)
    if request.output is not Output.table:
        document = {
            "changes": [_to_json(change) for change in changes],
            "unchanged": unchanged,
            "policies": policies,
            "policies_applied": applied,
            "dry_run": request.dry_run,
        }
        print_data(document, request.output)
        return
    print_table(("CHANGE", "INSTANCE", "WHY"), [_row(change) for change in changes])
    count = f"{unchanged} {'instance' if unchanged == 1 else 'instances'}"
    echo(f"{count} unchanged" + (" (dry run: nothing was changed)" if request.dry_run else ""))
    if policies:
        names = ", ".join(f"{item['kind']}/{item['name']} {item['action']}" for item in policies)
        hint = "" if applied else ": --policies applies them"
        echo(sanitize(f"policies that differ from the mesh's: {names}{hint}"))


def _row(change: Change) -> tuple[str, str, str]:
    name = change.subject.name
    renamed = change.new is not None and change.new.name != name
    return (change.action, f"{name} → {change.new.name}" if renamed and change.new else name, change.reason)


def _to_json(change: Change) -> dict[str, str]:
    return {
        "action": change.action,
        "service": change.subject.service,
        "instance": change.old.name if change.old else "",
        "new_instance": change.new.name if change.new else "",
        "reason": change.reason,
    }
