"""`mesh up`: a whole mesh on this host, started and stopped with one command."""

from __future__ import annotations

import asyncio
import os
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from meshwright.cli.application import MAX_REPLICAS, instances, read_application, with_gateway_ports
from meshwright.cli.durations import duration_parser
from meshwright.cli.errors import warn
from meshwright.cli.foreground import run_mesh, start_detached
from meshwright.cli.launcher import LaunchPlan
from meshwright.cli.leftovers import stop_leftovers
from meshwright.cli.options import StateOption
from meshwright.cli.ports import ListenPort, port_conflicts
from meshwright.cli.state_lock import StateLock
from meshwright.control_plane.config import read_settings
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
MeshTimeoutOption = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="DURATION",
        parser=duration_parser(1, 600),
        show_default=False,
        help="How long the mesh has to become ready. [default: 60s]",
    ),
]
ReadyFdOption = Annotated[int, typer.Option("--ready-fd", hidden=True)]


def up(
    file: FileOption = "",
    *,
    only: OnlyOption = "",
    scale: ScaleOption = [],  # noqa: B006  typer copies it
    port: PortOption = [],  # noqa: B006  typer copies it
    detach: DetachOption = False,
    timeout: MeshTimeoutOption = 60.0,
    ready_fd: ReadyFdOption = -1,
    state: StateOption = None,
) -> None:
    """Start a mesh on this host: store, control plane, gateways, and services with a sidecar each.

    It runs in the foreground until Ctrl-C, which stops everything. The policies of the application file are
    applied on the first start of a state directory.

    \b
    Example:
      mesh up
      mesh up -f shop.yaml --only orders,inventory --scale inventory=3 --port ingress=9080
      mesh up --detach && mesh status; mesh down
    """
    if note := "" if file else unused_file_note(Path()):
        warn(note)
    application_file = Path(file) if file else demo_application_file()
    plan = launch_plan(application_file, only, scale=scale, port=port, timeout=timeout, state=state)
    if detach:
        start_detached(plan)
        return
    lock = StateLock(plan.settings.state)
    try:
        check_ports(plan)
        asyncio.run(run_mesh(plan, ready_fd))
    finally:
        lock.release()


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


def launch_plan(
    file: Path, only: str, *, scale: list[str], port: list[str], timeout: float, state: Path | None
) -> LaunchPlan:
    """What the options and the application file describe; raises InputError."""
    ports = dict(_parse_name_number("--port", text, 65535) for text in port)
    application = with_gateway_ports(read_application(file), ports)
    names = [name for name in only.split(",") if name]
    counts = dict(_parse_name_number("--scale", text, MAX_REPLICAS) for text in scale)
    settings = read_settings({**os.environ, **({"MESH_STATE": str(state)} if state else {})})
    return LaunchPlan(application, file, instances(application.spec, names, counts), settings, timeout)


def _parse_name_number(option: str, text: str, maximum: int) -> tuple[str, int]:
    """Parse `NAME=N` of an option; raises InputError."""
    name, _, number = text.partition("=")
    if not name or not number.isdecimal() or int(number) > maximum:
        raise InputError(f"{option} {text}: expected NAME=N with N from 0 to {maximum}")
    return name, int(number)


def check_ports(plan: LaunchPlan) -> None:
    """Raise InputError with a line for each port that something else uses.

    Whatever held the ports of the control plane before is stopped. A gateway that an earlier start left goes
    on, on its port.
    """
    settings = plan.settings
    gateways = {gateway.name for gateway in plan.application.spec.gateways}
    left = stop_leftovers(settings.state, {*gateways, *(item.name for item in plan.instances)})
    serving = {record.name.removesuffix(".proxy") for record in left.serving}
    conflicts = port_conflicts(
        [
            ListenPort(settings.admin_bind, settings.admin_port, "MESH_ADMIN_PORT"),
            ListenPort(settings.bind, settings.xds_port, "MESH_XDS_PORT"),
            ListenPort(settings.bind, settings.enrolment_port, "MESH_ENROLMENT_PORT"),
            ListenPort(settings.bind, settings.otlp_port, "MESH_OTLP_PORT"),
            *(
                ListenPort(settings.bind, gateway.port, f"the port of gateway {gateway.name} in {plan.file}")
                for gateway in plan.application.spec.gateways
                if gateway.name not in serving
            ),
        ]
    )
    if conflicts:
        raise InputError("\n".join(conflicts))
