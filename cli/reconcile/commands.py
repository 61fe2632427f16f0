"""`mesh scale`, `mesh stop` and `mesh start`: how many instances of a service run on this host."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated

import typer

from meshwright.cli.application import MAX_REPLICAS
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.reconcile.applied import AppliedApplication, load_applied
from meshwright.cli.reconcile.options import ChangeDryRunOption, ReadyTimeoutOption, parse_name_number
from meshwright.cli.reconcile.reconcile import Reconciliation, reconcile
from meshwright.cli.resource_names import name_parser
from meshwright.cli.state_lock import holder
from meshwright.control_plane.api import mesh_locator
from meshwright.control_plane.errors import InputError, NotFoundError
from meshwright.control_plane.policies.validation_messages import suggestion

ServicesToChange = Annotated[
    list[str],
    typer.Argument(
        metavar="SERVICE", parser=name_parser("service"), help="A service of the application. Repeatable."
    ),
]


def scale(
    counts: Annotated[
        list[str],
        typer.Argument(
            metavar="SERVICE=N",
            parser=name_parser("service"),
            help="A service and its number of instances. Repeatable.",
        ),
    ],
    *,
    dry_run: ChangeDryRunOption = False,
    timeout: ReadyTimeoutOption = 60.0,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Run another number of instances of a service of `mesh up`, without losing a request.

    New instances are healthy before callers send to them; those that are stopped are drained before. The
    number holds until the next `mesh up`, which runs as many as the application file says.

    \b
    Example:
      mesh scale orders=3
      mesh scale orders=3 inventory=1
    """
    numbers = dict(parse_name_number("mesh scale", text, MAX_REPLICAS) for text in counts)
    folder, applied = _running(state, numbers)
    applied = applied.with_running(numbers).model_copy(update={"scale": {**applied.scale, **numbers}})
    request = _request(applied, numbers, dry_run=dry_run, timeout=timeout, output=output)
    asyncio.run(reconcile(request, folder))


def stop(
    services: ServicesToChange,
    *,
    dry_run: ChangeDryRunOption = False,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Stop services of `mesh up`: callers stop sending, requests finish, then processes and sidecars end.

    Calls to them fail until `mesh start` or the next `mesh up`.

    \b
    Example:
      mesh stop orders
    """
    folder, applied = _running(state, services)
    applied = applied.model_copy(update={"stopped": applied.stopped | set(services)})
    reasons = dict.fromkeys(services, "mesh stop")
    request = _request(applied, services, dry_run=dry_run, timeout=0.0, output=output, reasons=reasons)
    asyncio.run(reconcile(request, folder))


def start(
    services: ServicesToChange,
    *,
    dry_run: ChangeDryRunOption = False,
    timeout: ReadyTimeoutOption = 60.0,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Start services again that `mesh stop` has stopped, or that `--only` left out.

    \b
    Example:
      mesh start orders
    """
    folder, applied = _running(state, services)
    applied = applied.with_running(services)
    request = _request(applied, services, dry_run=dry_run, timeout=timeout, output=output)
    asyncio.run(reconcile(request, folder))


def _running(state: Path | None, services: Collection[str]) -> tuple[Path, AppliedApplication]:
    """The state directory and what runs there.

    Raises InputError if nothing does, NotFoundError for a service that the application does not have.
    """
    folder = mesh_locator.local_state_dir(os.environ, state)
    applied = load_applied(folder) if holder(folder) else None
    if applied is None:
        raise InputError(f"{folder}: no mesh of `mesh up` is running here: name its --state, or start it")
    names = sorted({entry.name for entry in applied.application.spec.services})
    for service in services:
        if service not in names:
            advice = suggestion(service, names, f"it has {', '.join(names) or 'none'}")
            raise NotFoundError(f"{service}: no such service in application {applied.name}: {advice}")
    return folder, applied


def _request(
    applied: AppliedApplication,
    services: Collection[str],
    *,
    dry_run: bool,
    timeout: float,
    output: Output,
    reasons: Mapping[str, str] | None = None,
) -> Reconciliation:
    return Reconciliation(
        applied,
        services=frozenset(services),
        reasons=reasons or {},
        dry_run=dry_run,
        timeout=timeout,
        output=output,
    )
