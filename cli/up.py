"""`mesh up`: a whole mesh on this host, started and stopped with one command."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from meshwright.cli.application import MAX_REPLICAS, read_application, with_gateway_ports
from meshwright.cli.errors import warn
from meshwright.cli.foreground import run_mesh, start_detached
from meshwright.cli.launcher import LaunchPlan
from meshwright.cli.leftovers import stop_leftovers
from meshwright.cli.options import Output, OutputOption, StateOption
from meshwright.cli.ports import ListenPort, port_conflicts
from meshwright.cli.reconcile.applied import AppliedApplication, applied_application, load_applied
from meshwright.cli.reconcile.options import ChangeDryRunOption, ReadyTimeoutOption, parse_name_number
from meshwright.cli.reconcile.reconcile import Reconciliation, reconcile, show_first_start
from meshwright.cli.state_lock import StateLock, holder
from meshwright.control_plane.api import mesh_locator
from meshwright.control_plane.config import Settings, read_settings
from meshwright.control_plane.errors import InputError

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
DetachOption = Annotated[
    bool, typer.Option("--detach", "-d", help="Run in the background; return when the mesh is ready.")
]
PoliciesOption = Annotated[
    bool, typer.Option("--policies", help="Apply the policies of the file to a mesh that had some before.")
]
ReadyFdOption = Annotated[int, typer.Option("--ready-fd", hidden=True)]


def up(
    file: FileOption = "",
    *,
    only: OnlyOption = "",
    scale: ScaleOption = [],  # noqa: B006  typer copies it
    port: PortOption = [],  # noqa: B006  typer copies it
    policies: PoliciesOption = False,
    dry_run: ChangeDryRunOption = False,
    detach: DetachOption = False,
    timeout: ReadyTimeoutOption = 60.0,
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
    """
    folder = mesh_locator.state_dir(os.environ, state)
    running = load_applied(folder) if holder(folder) else None
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
    if running is not None:
        reconcile(_beside(running, request, folder), folder)
    elif dry_run:
        show_first_start(request, folder)
    else:
        _start(LaunchPlan(applied, mesh_settings(state), timeout, policies), ready_fd, detach=detach)


def _start(plan: LaunchPlan, ready_fd: int, *, detach: bool) -> None:
    """Start a mesh and keep it, in the background if `detach`."""
    if detach:
        start_detached(plan)
        return
    lock = StateLock(plan.settings.state)
    try:
        check_ports(plan)
        asyncio.run(run_mesh(plan, ready_fd))
    finally:
        lock.release()


def _beside(running: AppliedApplication, request: Reconciliation, state: Path) -> Reconciliation:
    """The request, with what it leaves alone in what runs. Raises InputError for another application."""
    applied = request.applied
    if applied.name != running.name:
        raise InputError(
            f"{state}: a mesh is already running here, with application {running.name}, not {applied.name}: "
            "stop it with `mesh down`, or choose another --state"
        )
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


def mesh_settings(state: Path | None) -> Settings:
    """The settings of the mesh to start; raises InputError."""
    return read_settings({**os.environ, **({"MESH_STATE": str(state)} if state else {})})


def check_ports(plan: LaunchPlan) -> None:
    """Raise InputError with a line for each port that something else uses.

    Whatever held the ports of the control plane before is stopped. A gateway that an earlier start left goes
    on, on its port.
    """
    settings = plan.settings
    left = stop_leftovers(settings.state, plan.workload_names)
    serving = {record.name.removesuffix(".proxy") for record in left.serving}
    conflicts = port_conflicts(
        [
            ListenPort(settings.admin_bind, settings.admin_port, "MESH_ADMIN_PORT"),
            ListenPort(settings.bind, settings.xds_port, "MESH_XDS_PORT"),
            ListenPort(settings.bind, settings.enrolment_port, "MESH_ENROLMENT_PORT"),
            ListenPort(settings.bind, settings.otlp_port, "MESH_OTLP_PORT"),
            *(
                ListenPort(
                    settings.bind, gateway.port, f"the port of gateway {gateway.name} in {plan.applied.file}"
                )
                for gateway in plan.gateways
                if gateway.name not in serving
            ),
        ]
    )
    if conflicts:
        raise InputError("\n".join(conflicts))
