"""`mesh up`: a whole mesh on this host, started and stopped with one command.

What a start and what a change needs is imported on use: neither needs the other's, and help needs none.
"""

from __future__ import annotations

import os
from dataclasses import replace
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meshwright.cli.errors import warn
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.reconcile.options import ChangeDryRunOption, ReadyTimeoutOption, parse_name_number
from meshwright.control_plane.api import mesh_locator
from meshwright.control_plane.config import read_settings
from meshwright.control_plane.errors import InputError

if TYPE_CHECKING:
    from meshwright.cli.foreground import WhileRunning
    from meshwright.cli.launcher import LaunchPlan
    from meshwright.cli.reconcile.applied import AppliedApplication
    from meshwright.cli.reconcile.reconcile import Reconciliation


class Ports(StrEnum):
    """What becomes of ports that something else uses."""

    fixed = "fixed"
    auto = "auto"


FileOption = Annotated[
    str, typer.Option("--file", "-f", metavar="FILE", help="Application file. [default: the demo shop]")
]
OnlyOption = Annotated[str, typer.Option("--only", metavar="A,B", help="Run only these services.")]
ScaleOption = Annotated[
    list[str], typer.Option("--scale", metavar="NAME=N", help="Run N replicas of a service. Repeatable.")
]
PortOption = Annotated[
    list[str], typer.Option("--port", metavar="NAME=PORT", help="Port of a gateway. Repeatable.")
]
PortsOption = Annotated[
    Ports,
    typer.Option("--ports", help="auto: free ports for those in use, so that a second mesh can start."),
]
DetachOption = Annotated[
    bool, typer.Option("--detach", "-d", help="Run in the background; return when the mesh is ready.")
]
PoliciesOption = Annotated[
    bool, typer.Option("--policies", help="Apply the policies of the file to a mesh that had some before.")
]
WatchOption = Annotated[
    bool, typer.Option("--watch", help="Replace the instances of a service whose source files change.")
]
ResumeOption = Annotated[bool, typer.Option("--resume", hidden=True)]
"""Go on with what the `mesh up` before ran here, whatever its file says now: `mesh upgrade` needs it."""
ReadyFdOption = Annotated[int, typer.Option("--ready-fd", hidden=True)]


def up(
    file: FileOption = "",
    *,
    only: OnlyOption = "",
    scale: ScaleOption = [],  # noqa: B006  typer copies it
    port: PortOption = [],  # noqa: B006  typer copies it
    ports: PortsOption = Ports.fixed,
    policies: PoliciesOption = False,
    dry_run: ChangeDryRunOption = False,
    watch: WatchOption = False,
    detach: DetachOption = False,
    timeout: ReadyTimeoutOption = 60.0,
    resume: ResumeOption = False,
    ready_fd: ReadyFdOption = -1,
    output: OutputOption = Output.table,
    state: StateOption = None,
) -> None:
    """Start a mesh on this host, or make the one that runs here what the application file says.

    It has a store, a control plane, gateways, and services with a sidecar each, and runs in the foreground
    until Ctrl-C, which stops everything. The policies of the file are applied on the first start of a state
    directory.

    If it runs already, what the file or the options changed is started, replaced or stopped, and nothing
    else: a new instance is healthy, and its callers send to it, before the one that it replaces is drained.
    -f is the running mesh's file unless given, and --only A looks at nothing but A. Policies that differ are
    listed, and applied with --policies, before anything starts. Services that `mesh stop` has stopped start.

    \b
    Example:
      mesh up
      mesh up -f shop.yaml --only orders,inventory --scale inventory=3 --port ingress=9080
      mesh up -f shop.yaml --dry-run && mesh up -f shop.yaml --policies
      mesh up --detach && mesh status; mesh down
      mesh up --state .second --ports auto
      mesh up -f shop.yaml --watch
    """
    from meshwright.cli.reconcile.reconcile import Reconciliation, show_first_start

    folder = mesh_locator.local_state_dir(os.environ, state)
    if resume:
        _start(_resumed_plan(folder, timeout), ready_fd, None, auto_ports=False)
        return
    running = _running_application(folder)
    if note := "" if file or running else unused_file_note(Path()):
        warn(note)
    default = running.file if running else demo_application_file()
    applied = application_to_run(Path(file) if file else default, only, scale, port, running)
    request = Reconciliation(
        applied,
        services=frozenset(applied.only),
        policies=True,
        apply_policies=policies,
        dry_run=dry_run,
        timeout=timeout,
        output=output,
    )
    if watch and detach:
        raise InputError("--watch runs in the foreground: leave out --detach, or run it beside a mesh")
    follow = _source_watch(folder, timeout) if watch and not dry_run else None
    if running is not None:
        _change(_beside(running, request, folder), folder, follow)
    elif dry_run:
        show_first_start(request, folder)
    else:
        plan = launch_plan(applied, folder, timeout, policies=policies)
        if detach:
            _start_detached(plan)
        else:
            _start(plan, ready_fd, follow, auto_ports=ports is Ports.auto)


def _running_application(folder: Path) -> AppliedApplication | None:
    """What runs in a state directory now."""
    from meshwright.cli.reconcile.applied import load_applied
    from meshwright.cli.state_lock import holder

    return load_applied(folder) if holder(folder) else None


def launch_plan(
    applied: AppliedApplication,
    state: Path | None,
    timeout: float,
    *,
    policies: bool = False,
    resumed: bool = False,
) -> LaunchPlan:
    """What to start in a state directory; raises InputError for settings that are invalid."""
    from meshwright.cli.launcher import LaunchPlan

    settings = read_settings({**os.environ, **({"MESH_STATE": str(state)} if state else {})})
    return LaunchPlan(applied, settings, timeout, policies, resumed)


def _resumed_plan(folder: Path, timeout: float) -> LaunchPlan:
    """What ran in a state directory before; raises InputError if that is not known."""
    from meshwright.cli.reconcile.applied import load_applied

    applied = load_applied(folder)
    if applied is None:
        raise InputError(f"{folder}: what ran here is not known: start it with `mesh up -f FILE`")
    return launch_plan(applied, folder, timeout, resumed=True)


def _start_detached(plan: LaunchPlan) -> None:
    """Start a mesh in the background; return when it is ready."""
    from meshwright.cli.foreground import start_detached

    start_detached(plan)


def _start(plan: LaunchPlan, ready_fd: int, follow: WhileRunning | None, *, auto_ports: bool) -> None:
    """Start a mesh and keep it until a signal comes."""
    import asyncio

    from meshwright.cli.foreground import run_mesh
    from meshwright.cli.launch_ports import settle_ports
    from meshwright.cli.state_lock import StateLock

    lock = StateLock(plan.settings.state)
    try:
        asyncio.run(run_mesh(settle_ports(plan, auto=auto_ports), ready_fd, follow))
    finally:
        lock.release()


def _source_watch(state: Path, timeout: float) -> WhileRunning:
    """Replaces the instances of services whose source files change."""
    from meshwright.cli.reconcile.watch import SourceWatch

    return SourceWatch(state, timeout).run


def _change(request: Reconciliation, state: Path, follow: WhileRunning | None) -> None:
    """Change a running mesh, and follow its sources until a signal comes, if that is asked for."""
    import asyncio

    from meshwright.cli.reconcile.reconcile import reconcile

    async def change() -> None:
        await reconcile(request, state)
        if follow:
            from meshwright.cli.foreground import stop_event

            await follow(stop_event())

    asyncio.run(change())


def _beside(running: AppliedApplication, request: Reconciliation, state: Path) -> Reconciliation:
    """The request, with what it leaves alone in what runs. Raises InputError for another application."""
    applied = request.applied
    running.check_same(applied, state)
    if not applied.only:
        return request
    rest = running.with_running(applied.only)
    fields = {"only": rest.only, "stopped": rest.stopped, "scale": {**running.scale, **applied.scale}}
    return replace(request, applied=applied.model_copy(update=fields))


def unused_file_note(folder: Path) -> str:
    """What to say if the demo starts beside an application file of the user's; empty without one."""
    names = (name for name in ("mesh.yaml", "mesh.yml", "application.yaml") if (folder / name).is_file())
    file = next(names, "")
    return (
        f"this is the demo shop; {file} here is not used: start it with `mesh up -f {file}`" if file else ""
    )


def demo_application_file() -> Path:
    """The application file of the demo shop in this package."""
    return Path(str(resources.files("meshwright.services"))) / "application.yaml"


def application_to_run(
    file: Path, only: str, scale: list[str], port: list[str], running: AppliedApplication | None = None
) -> AppliedApplication:
    """What the options and the application file describe; raises InputError.

    A gateway keeps the port that an option gave it when it was started.
    """
    from meshwright.cli.application import MAX_REPLICAS, read_application, with_gateway_ports
    from meshwright.cli.reconcile.applied import applied_application

    ports = dict(parse_name_number("--port", text, 65535) for text in port)
    counts = dict(parse_name_number("--scale", text, MAX_REPLICAS) for text in scale)
    names = tuple(name for name in only.split(",") if name)
    application = read_application(file)
    if running:
        gateways = {gateway.name for gateway in application.spec.gateways}
        ports = {**{name: running.ports[name] for name in gateways & running.ports.keys()}, **ports}
    return applied_application(
        with_gateway_ports(application, ports), file, ports=ports, only=names, scale=counts
    )
