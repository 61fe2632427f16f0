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
from importlib import resources
from pathlib import Path
from typing import Annotated

import psutil
import typer

from meshwright.cli.application import MAX_REPLICAS, instances, read_application, with_gateway_ports
from meshwright.cli.durations import duration_parser
from meshwright.cli.errors import CommandError, warn
from meshwright.cli.launcher import LaunchPlan, MeshLauncher
from meshwright.cli.options import StateOption
from meshwright.cli.output import SIGNS, Level, colorize, echo, flush
from meshwright.cli.ports import ListenPort, port_conflicts
from meshwright.cli.python_module import module_command
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
from meshwright.control_plane.config import Settings, read_settings
from meshwright.control_plane.errors import InputError
from meshwright.sidecar.child_process import log_path
from meshwright.sidecar.files import private_folder, tail
from meshwright.sidecar.orphans import START_TIME_TOLERANCE, reap_orphans

DOWN_TIMEOUT = 120.0
"""Seconds that `mesh down` waits: more than all the parts need to drain and stop."""

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
ReadyTimeoutOption = Annotated[
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

WhileRunning = Callable[[asyncio.Event], Awaitable[None]]
"""Runs while the mesh is ready. The mesh stops after it; it returns soon after the event is set."""


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

    It runs in the foreground until Ctrl-C, which stops everything. The policies of the application file are
    applied on the first start of a state directory.

    \b
    Example:
      mesh up
      mesh up -f shop.yaml --only orders,inventory --scale inventory=3 --port ingress=9080
      mesh up --detach && mesh status; mesh down
    """
    application_file = Path(file) if file else demo_application_file()
    plan = _launch_plan(application_file, only, scale=scale, port=port, timeout=timeout, state=state)
    if detach:
        _start_detached(plan)
        return
    lock = StateLock(plan.settings.state)
    try:
        _check_ports(plan)
        asyncio.run(_run(plan, ready_fd))
    finally:
        lock.release()


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
    """Start the demo: a small shop whose services call each other through their sidecars.

    --traffic sends requests through its ingress and prints counts as JSON at the end. The requests go to a
    demo that is already running; otherwise one is started and stopped afterwards. --fault applies a
    FaultInjection policy after 5 s of traffic and always deletes it.

    \b
    Example:
      mesh demo
      curl http://127.0.0.1:8080/api/catalog/products
      mesh demo --traffic 50
      mesh demo --traffic 50 --for 30s --fault inventory:fail:5s > counts.json
    """
    file = demo_application_file()
    services = frozenset(entry.name for entry in read_application(file).spec.services)
    requested = traffic_plan(
        traffic, seed=seed, seconds=seconds, fault=fault, detach=detach, services=services
    )
    if requested:
        _send_traffic(requested, _launch_plan(file, "", scale=[], port=port, timeout=timeout, state=state))
        return
    up("", only="", scale=[], port=port, detach=detach, timeout=timeout, ready_fd=-1, state=state)


def down(state: StateOption = None) -> None:
    """Stop the mesh of a state directory. Returns when all processes have ended and the ports are free.

    \b
    Example:
      mesh down
    """
    folder = _settings(state).state
    record = holder(folder)
    if record is None:
        stopped = [*reap_orphans(folder), *remove_abandoned_instances(folder)]
        echo(f"stopped {len(stopped)} orphaned processes" if stopped else f"no mesh is running in {folder}")
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
    # The process releases the lock shortly before it ends.
    while _is_running(record) and time.monotonic() < deadline:
        time.sleep(0.02)
    reap_orphans(folder)
    remove_abandoned_instances(folder)
    echo("stopped")


def _is_running(record: ProcessRecord) -> bool:
    """Whether the recorded process still runs. Its start time tells it from a later process with its pid."""
    try:
        process = psutil.Process(record.pid)
        is_same = abs(process.create_time() - record.started) < START_TIME_TOLERANCE
        return is_same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def demo_application_file() -> Path:
    """The application file of the demo shop in this package."""
    return Path(str(resources.files("meshwright.services"))) / "application.yaml"


def _launch_plan(
    file: Path, only: str, *, scale: list[str], port: list[str], timeout: float, state: Path | None
) -> LaunchPlan:
    ports = dict(_parse_name_number("--port", text, 65535) for text in port)
    application = with_gateway_ports(read_application(file), ports)
    names = [name for name in only.split(",") if name]
    counts = dict(_parse_name_number("--scale", text, MAX_REPLICAS) for text in scale)
    return LaunchPlan(
        application, file, instances(application.spec, names, counts), _settings(state), timeout
    )


def _parse_name_number(option: str, text: str, maximum: int) -> tuple[str, int]:
    """Parse `NAME=N` of an option; raises InputError."""
    name, _, number = text.partition("=")
    if not name or not number.isdecimal() or int(number) > maximum:
        raise InputError(f"{option} {text}: expected NAME=N with N from 0 to {maximum}")
    return name, int(number)


def _settings(state: Path | None) -> Settings:
    environment = {**os.environ, **({"MESH_STATE": str(state)} if state else {})}
    return read_settings(environment)


def _check_ports(plan: LaunchPlan) -> None:
    """Raise InputError with a line for each port that is in use."""
    settings = plan.settings
    if settings.state.joinpath("run").exists():
        reap_orphans(settings.state)
    conflicts = port_conflicts(
        [
            ListenPort(settings.admin_bind, settings.admin_port, "MESH_ADMIN_PORT"),
            ListenPort(settings.bind, settings.xds_port, "MESH_XDS_PORT"),
            ListenPort(settings.bind, settings.enrolment_port, "MESH_ENROLMENT_PORT"),
            ListenPort(settings.bind, settings.otlp_port, "MESH_OTLP_PORT"),
            *(
                ListenPort(settings.bind, gateway.port, f"the port of gateway {gateway.name} in {plan.file}")
                for gateway in plan.application.spec.gateways
            ),
        ]
    )
    if conflicts:
        raise InputError("\n".join(conflicts))


def _report_progress(level: Level, name: str, message: str) -> None:
    _print_line(colorize(f"{SIGNS[level]} {name:<16} {message}"))


def _print_line(line: str) -> None:
    """Print and flush a line. If stdout is closed, the mesh goes on, and stops later, without output."""
    try:
        echo(line)
        flush()
    except OSError:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115  for the rest of this process


def _send_traffic(requested: TrafficPlan, plan: LaunchPlan) -> None:
    """Send traffic to the mesh of this state, starting one if needed. The counts go to stdout."""
    from meshwright.cli.traffic.runner import run_traffic

    state, out = plan.settings.state, sys.stdout

    async def send(stop: asyncio.Event) -> None:
        counts = await run_traffic(requested, state, stop)
        out.write(json.dumps(counts, indent=2) + "\n")
        out.flush()

    with redirect_stdout(sys.stderr):
        if holder(state) is not None:
            asyncio.run(_until_signal(send))
            return
        lock = StateLock(state)
        try:
            _check_ports(plan)
            asyncio.run(_run(plan, -1, send))
        finally:
            lock.release()


async def _until_signal(while_running: WhileRunning) -> None:
    await while_running(_stop_event())


def _stop_event() -> asyncio.Event:
    """An event that is set by SIGINT, SIGTERM or SIGHUP."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    return stop


async def _run(plan: LaunchPlan, ready_fd: int, while_running: WhileRunning | None = None) -> None:
    stop = _stop_event()
    started = time.monotonic()
    launcher = MeshLauncher(plan, _report_progress)
    starting = asyncio.create_task(launcher.up())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            status = launcher.agent_status()
            echo(f"\nready in {time.monotonic() - started:.1f} s\n")
            stopped_by = "Ctrl-C" if ready_fd < 0 else "`mesh down`"
            print_startup_summary(plan, status.workloads if status else (), stopped_by)
            sys.stdout.flush()
            if ready_fd >= 0:
                os.write(ready_fd, b"ready")
                os.close(ready_fd)
            await (while_running(stop) if while_running else stopping)
    finally:
        starting.cancel()
        stopping.cancel()
        await asyncio.gather(starting, stopping, return_exceptions=True)
        _print_line("stopping")
        await launcher.down()


def _start_detached(plan: LaunchPlan) -> None:
    """Start the same command in a session of its own; return when it is ready, fail when it fails."""
    state = plan.settings.state
    private_folder(state / "logs")
    log = log_path(state, "up")
    reading, writing = os.pipe()
    arguments = [argument for argument in sys.argv[1:] if argument not in ("--detach", "-d")]
    with log.open("wb") as output:
        child = subprocess.Popen(
            module_command("cli", *_up_arguments(arguments), "--ready-fd", str(writing)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(writing,),
            start_new_session=True,
        )
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        ready = pipe.read() == b"ready"
    echo(log.read_text())
    if not ready:
        code = child.wait()
        warn(f"the mesh did not start: {log}" if log.stat().st_size else tail(log))
        raise typer.Exit(code or errors.FAILED)
    echo(f"running in the background as pid {child.pid}")


def _up_arguments(arguments: list[str]) -> list[str]:
    """The arguments for `mesh up`, the only command with --ready-fd."""
    rest = (text for index, text in enumerate(arguments) if index or text not in ("up", "demo"))
    return ["up", *rest]
