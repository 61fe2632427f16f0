"""`mesh up`, `mesh demo` and `mesh down`: a whole mesh on this host, started and stopped with one command."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import redirect_stdout, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import psutil
import typer

from meshwright.cli import output as output_module
from meshwright.cli.application import MAX_REPLICAS, instances, read_application, with_gateway_ports
from meshwright.cli.errors import CommandError, warn
from meshwright.cli.launcher import LaunchPlan, MeshLauncher
from meshwright.cli.options import StateOption
from meshwright.cli.ports import ListenPort, port_conflicts
from meshwright.cli.startup_summary import print_startup_summary
from meshwright.cli.state_lock import StateLock, holder, remove_abandoned_instances
from meshwright.cli.traffic.options import (
    DurationOption,
    FaultOption,
    SeedOption,
    TrafficOption,
    traffic_plan,
)
from meshwright.cli.traffic.plan import TrafficPlan
from meshwright.control_plane.api import errors
from meshwright.control_plane.api.state_dir import ProcessRecord
from meshwright.control_plane.config import Settings
from meshwright.control_plane.config import read_settings as read_settings
from meshwright.control_plane.errors import InputError
from meshwright.sidecar.files import private_folder, tail
from meshwright.sidecar.supervisor import START_TIME_TOLERANCE, log_path, reap_orphans

DOWN_TIMEOUT = 120.0
"""Seconds that `mesh down` waits: more than the parts need to drain and stop."""

FileOption = Annotated[
    str, typer.Option("--file", "-f", metavar="FILE", help="The application file. [default: the exchange]")
]
OnlyOption = Annotated[str, typer.Option("--only", metavar="A,B", help="Run only these services.")]
ScaleOption = Annotated[
    list[str], typer.Option("--scale", metavar="NAME=N", help="Run N replicas of a service. Repeatable.")
]
PortOption = Annotated[
    list[str], typer.Option("--port", metavar="NAME=N", help="Where a gateway listens. Repeatable.")
]
DetachOption = Annotated[bool, typer.Option("--detach", "-d", help="Return when it is ready; it runs on.")]
ReadyTimeoutOption = Annotated[
    float, typer.Option("--timeout", min=1, max=600, help="Seconds until it has to be ready.")
]
WhileRunning = Callable[[asyncio.Event], Awaitable[None]]
"""What is done once a mesh is ready; it ends when it likes, and soon after the event is set."""

ReadyFdOption = Annotated[int, typer.Option("--ready-fd", hidden=True)]


def up(
    file: FileOption = "",
    *,
    only: OnlyOption = "",
    scale: ScaleOption = [],  # noqa: B006  typer copies it
    port: PortOption = [],  # noqa: B006  typer copies it
    detach: DetachOption = False,
    timeout: ReadyTimeoutOption = 60.0,
    ready_fd: ReadyFdOption = -1,
    state: StateOption = None,
) -> None:
    """Start a mesh on this host: store, control plane, gateways, and services with a sidecar each.

    It runs in the foreground until Ctrl-C, which stops everything that was started. Policies of the
    application file are applied on the first start of a state directory.

    \b
    Example:
      mesh up
      mesh up -f shop.yaml --only orders,inventory --scale inventory=3 --port ingress=9080
      mesh up --detach && mesh status; mesh down
    """
    plan = _launch_plan(
        Path(file) if file else demo_application_file(),
        only,
        scale=scale,
        port=port,
        within=timeout,
        state=state,
    )
    if detach:
        _start_detached(plan)
        return
    held = StateLock(plan.settings.state)
    try:
        _check_ports(plan)
        asyncio.run(_run(plan, ready_fd))
    finally:
        held.release()


def demo(
    *,
    traffic: TrafficOption = None,
    seed: SeedOption = None,
    seconds: DurationOption = None,
    fault: FaultOption = "",
    port: PortOption = [],  # noqa: B006  typer copies it
    detach: DetachOption = False,
    timeout: ReadyTimeoutOption = 60.0,
    state: StateOption = None,
) -> None:
    """Start the demo: a small exchange of services that call each other through their sidecars.

    With --traffic requests are sent through its ingress, and counts are printed as JSON at the end. Traffic
    goes to the demo that runs already, else to one that is started, and stopped afterwards. --fault applies
    a FaultInjection policy after 5 s of traffic, and deletes it in any case.

    \b
    Example:
      mesh demo
      curl http://127.0.0.1:8080/api/catalog/products
      mesh demo --traffic 50
      mesh demo --traffic 50 --for 30 --fault inventory:fail:5 > counts.json
    """
    services = frozenset(entry.name for entry in read_application(demo_application_file()).spec.services)
    wanted = traffic_plan(traffic, seed=seed, seconds=seconds, fault=fault, detach=detach, services=services)
    if wanted:
        _with_traffic(
            wanted,
            _launch_plan(demo_application_file(), "", scale=[], port=port, within=timeout, state=state),
        )
        return
    up("", only="", scale=[], port=port, detach=detach, timeout=timeout, ready_fd=-1, state=state)


def down(state: StateOption = None) -> None:
    """Stop the mesh of a state directory; returns when everything is gone and its ports are free.

    \b
    Example:
      mesh down
    """
    folder = _settings(state).state
    record = holder(folder)
    if record is None:
        stopped = [*reap_orphans(folder), *remove_abandoned_instances(folder)]
        output_module.echo(
            f"stopped {len(stopped)} processes left behind" if stopped else f"no mesh runs in {folder}"
        )
        return
    if _is_running(record):
        with suppress(psutil.NoSuchProcess):
            psutil.Process(record.pid).send_signal(signal.SIGTERM)
    deadline = time.monotonic() + DOWN_TIMEOUT
    while holder(folder) is not None:
        if time.monotonic() > deadline:
            raise CommandError(
                errors.FAILED, f"pid {record.pid} did not stop within {DOWN_TIMEOUT:g} s: see {folder}/logs"
            )
        time.sleep(0.05)
    # It lets go of the folder a moment before it is gone itself.
    while _is_running(record) and time.monotonic() < deadline:
        time.sleep(0.02)
    reap_orphans(folder)
    remove_abandoned_instances(folder)
    output_module.echo("stopped")


def _is_running(record: ProcessRecord) -> bool:
    """Whether the recorded process still runs, and is not a stranger who got its pid."""
    try:
        process = psutil.Process(record.pid)
        same = abs(process.create_time() - record.started) < START_TIME_TOLERANCE
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def demo_application_file() -> Path:
    """The application file of the exchange that comes with the package."""
    found = find_spec("meshwright.services")
    for folder in found.submodule_search_locations or () if found else ():
        return Path(folder) / "application.yaml"
    raise InputError("the exchange is not installed here: name an application file with -f")


def _launch_plan(
    file: Path, only: str, *, scale: list[str], port: list[str], within: float, state: Path | None
) -> LaunchPlan:
    ports = dict(_parse_name_number("--port", one, 65535) for one in port)
    application = with_gateway_ports(read_application(file), ports)
    names = [name for name in only.split(",") if name]
    counts = dict(_parse_name_number("--scale", one, MAX_REPLICAS) for one in scale)
    chosen = instances(application.spec, names, counts)
    return LaunchPlan(application, file, chosen, _settings(state), within)


def _parse_name_number(option: str, text: str, most: int) -> tuple[str, int]:
    """`NAME=N` of an option; raises InputError."""
    name, _, number = text.partition("=")
    if not name or not number.isdecimal() or int(number) > most:
        raise InputError(f"{option} {text}: write it like NAME=3, with a number from 0 to {most}")
    return name, int(number)


def _settings(state: Path | None) -> Settings:
    environment = {**os.environ, **({"MESH_STATE": str(state)} if state else {})}
    return read_settings(environment)


def _check_ports(plan: LaunchPlan) -> None:
    """Raise InputError with a line for each port that somebody else has."""
    settings = plan.settings
    if plan.settings.state.joinpath("run").exists():
        reap_orphans(plan.settings.state)
    wanted = [
        ListenPort(settings.admin_bind, settings.admin_port, "MESH_ADMIN_PORT"),
        ListenPort(settings.bind, settings.xds_port, "MESH_XDS_PORT"),
        ListenPort(settings.bind, settings.enrolment_port, "MESH_ENROLMENT_PORT"),
        ListenPort(settings.bind, settings.otlp_port, "MESH_OTLP_PORT"),
        *(
            ListenPort(settings.bind, one.port, f"the port of gateway {one.name} in {plan.file}")
            for one in plan.application.spec.gateways
        ),
    ]
    problems = port_conflicts(wanted)
    if problems:
        raise InputError("\n".join(problems))


def _report_progress(level: str, name: str, words: str) -> None:
    sign = output_module.SIGNS[level]  # type: ignore[index]
    _print_line(output_module.colorize(f"{sign} {name:<16} {words}"))


def _print_line(line: str) -> None:
    """Print a line at once. Where nobody reads any more the mesh goes on, and is stopped, in silence."""
    try:
        output_module.echo(line)
        output_module.flush()
    except OSError:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  for the rest of this process


def _with_traffic(wanted: TrafficPlan, plan: LaunchPlan) -> None:
    """Send traffic to the mesh of this state, which is started if it does not run; stdout gets the counts."""
    from meshwright.cli.traffic.runner import run_traffic

    state, out = plan.settings.state, sys.stdout

    async def send(stop: asyncio.Event) -> None:
        counts = await run_traffic(wanted, state, stop)
        out.write(json.dumps(counts, indent=2) + "\n")
        out.flush()

    with redirect_stdout(sys.stderr):
        if holder(state) is not None:
            asyncio.run(_until_signal(send))
            return
        held = StateLock(state)
        try:
            _check_ports(plan)
            asyncio.run(_run(plan, -1, send))
        finally:
            held.release()


async def _until_signal(beside: WhileRunning) -> None:
    await beside(_stop_event())


def _stop_event() -> asyncio.Event:
    """An event that Ctrl-C and its like set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _run(plan: LaunchPlan, ready_fd: int, beside: WhileRunning | None = None) -> None:
    stop = _stop_event()
    began = time.monotonic()
    launch = MeshLauncher(plan, _report_progress)
    starting = asyncio.create_task(launch.up())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            found = launch.agent_status()
            output_module.echo(f"\nready in {time.monotonic() - began:.1f} s\n")
            stopped_by = "Ctrl-C" if ready_fd < 0 else "`mesh down`"
            print_startup_summary(plan, found.workloads if found else (), stopped_by)
            sys.stdout.flush()
            if ready_fd >= 0:
                os.write(ready_fd, b"ready")
                os.close(ready_fd)
            await (beside(stop) if beside else stopping)
    finally:
        starting.cancel()
        stopping.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)
        _print_line("stopping")
        await launch.down()


def _start_detached(plan: LaunchPlan) -> None:
    """Start the same in a session of its own; return when it is ready, or fail as it failed."""
    state = plan.settings.state
    private_folder(state / "logs")
    log = log_path(state, "up")
    reading, writing = os.pipe()
    arguments = [each for each in sys.argv[1:] if each not in ("--detach", "-d")]
    with log.open("wb") as output:
        child = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-m",
                "meshwright.cli",
                *_up_arguments(arguments),
                "--ready-fd",
                str(writing),
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(writing,),
            start_new_session=True,
        )
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        ready = pipe.read() == b"ready"
    output_module.echo(log.read_text())
    if not ready:
        code = child.wait()
        warn(f"the mesh did not start: {log}" if log.stat().st_size else tail(log))
        raise typer.Exit(code or errors.FAILED)
    output_module.echo(f"it runs on as pid {child.pid}")


def _up_arguments(arguments: list[str]) -> list[str]:
    """The same call as `mesh up`, which alone knows --ready-fd."""
    return ["up", *(each for index, each in enumerate(arguments) if index or each not in ("up", "demo"))]
