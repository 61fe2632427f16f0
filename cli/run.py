"""`mesh run` and `mesh agent`: a process joins a running mesh, with a sidecar beside it."""

from __future__ import annotations

import asyncio
import os
from shutil import which
from typing import Annotated

import typer

from meshwright.cli.errors import CommandError
from meshwright.cli.join.options import (
    AdvertiseOption,
    BindOption,
    ControlPlaneOption,
    HealthOption,
    InstanceOption,
    LabelOption,
    MetricsOption,
    PortProtocol,
    ProtocolOption,
    ReadyTimeoutOption,
    RunPortOption,
    ServiceOption,
    TokenFileOption,
    UpstreamOption,
)
from meshwright.cli.join.runner import WorkloadRunner
from meshwright.cli.join.setup import join_mesh
from meshwright.cli.join.workload import JoinOptions
from meshwright.cli.options import StateOption
from meshwright.control_plane.errors import InputError
from meshwright.sidecar.ports import LOOPBACK, is_free, process_on_port


def run(
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND...", help="The process, after two hyphens.")
    ],
    *,
    service: ServiceOption,
    port: RunPortOption = None,
    protocol: ProtocolOption = PortProtocol.http,
    label: LabelOption = [],  # noqa: B006  typer copies it
    upstream: UpstreamOption = [],  # noqa: B006  typer copies it
    instance: InstanceOption = "",
    health: HealthOption = "",
    metrics: MetricsOption = "",
    token_file: TokenFileOption = None,
    control_plane: ControlPlaneOption = "",
    advertise: AdvertiseOption = "",
    bind: BindOption = "",
    grace: Annotated[
        float, typer.Option("--grace", min=0, max=3600, help="Seconds it may take to stop.")
    ] = 10.0,
    timeout: ReadyTimeoutOption = 60.0,
    state: StateOption = None,
) -> None:
    """Run a process as part of a running mesh: its sidecar is ready before it starts, and outlives it.

    It finds HTTP_PROXY, grpc_proxy, PORT and the like in its environment, and this terminal is its own.
    Ctrl-C first keeps callers away and lets what is under way end, then it is passed on. The exit code is
    that of the process.

    \b
    Example:
      mesh run --service docs --port 8000 -- python -m http.server 8000
      mesh run --service shop --port 0 --label version=v2 -- node server.js
      mesh run --service probe -- curl http://orders/health/ready
    """
    _check_program(command[0])
    _check_port(port or 0)
    asked = JoinOptions(
        service=service,
        instance=instance,
        ports=() if port is None else ((protocol.value, protocol.value, port),),
        labels=tuple(label),
        upstreams=tuple(upstream),
        health=health,
        metrics=metrics,
        token_file=token_file,
        control_plane=control_plane,
        advertise=advertise,
        bind=bind,
        command=tuple(command),
        grace=grace,
    )
    with join_mesh(asked, state) as config:
        code = asyncio.run(WorkloadRunner(config).run(timeout))
    raise typer.Exit(code)


def _check_program(program: str) -> None:
    """Raises VerbError with the exit code that shells have for a command that is missing or no program."""
    if which(program) is None:
        missing = which(program, os.F_OK) is None
        words = "no such command" if missing else "is not executable"
        raise CommandError(127 if missing else 126, f"{program}: {words}: name a program after --")


def _check_port(port: int) -> None:
    if port and not is_free(LOOPBACK, port):
        raise InputError(
            f"--port {port}: is in use{process_on_port(port)}: stop who has it, or choose another"
        )
