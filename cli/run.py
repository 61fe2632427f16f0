"""`mesh run`: run a process as part of a running mesh, behind a sidecar of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from shutil import which
from typing import Annotated, Any

import typer

from meshwright.cli.errors import CommandError
from meshwright.cli.join.grpc_log import silence_grpc
from meshwright.cli.join.option_groups import option_group
from meshwright.cli.join.options import (
    AdvertiseOption,
    AppOptions,
    BindOption,
    ControlPlaneOption,
    GraceOption,
    InboundPortOption,
    InstanceOption,
    LabelOption,
    OtlpPortOption,
    OutboundPortOption,
    PortProtocol,
    ProtocolOption,
    ReadyPortOption,
    RunPortsOption,
    ServiceOption,
    SidecarTimeoutOption,
    TokenFileOption,
    UpstreamOption,
)
from meshwright.cli.join.setup import JoinTarget, join_mesh
from meshwright.cli.join.workload import build_workload, parse_port
from meshwright.cli.options import StateOption
from meshwright.control_plane.errors import InputError
from meshwright.sidecar.config import AppPort
from meshwright.sidecar.ports import LOOPBACK, is_free, process_on_port

NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""Exit codes of shells."""


@option_group("app", AppOptions)
def run(
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND", help="Program and arguments. Put -- before them.")
    ],
    *,
    app: AppOptions,
    service: ServiceOption,
    port: RunPortsOption = [],  # noqa: B006  typer copies it
    protocol: ProtocolOption = PortProtocol.http,
    label: LabelOption = [],  # noqa: B006  typer copies it
    upstream: UpstreamOption = [],  # noqa: B006  typer copies it
    instance: InstanceOption = "",
    token_file: TokenFileOption = None,
    control_plane: ControlPlaneOption = "",
    advertise: AdvertiseOption = "",
    bind: BindOption = "",
    outbound_port: OutboundPortOption = 0,
    inbound_port: InboundPortOption = 0,
    ready_port: ReadyPortOption = 0,
    otlp_port: OtlpPortOption = 0,
    grace: GraceOption = 10.0,
    timeout: SidecarTimeoutOption = 60.0,
    state: StateOption = None,
) -> None:
    """Run a process as part of a running mesh. Its sidecar is ready before it starts, and outlives it.

    The process gets HTTP_PROXY, grpc_proxy, PORT and similar variables, and this terminal. Ctrl-C drains
    the instance (every caller stops sending to it, in-flight requests finish), then forwards the signal. The
    exit code is that of the process.

    \b
    Example:
      mesh run --service docs --port 8000 -- python -m http.server 8000
      mesh run --service shop --port 0 --label version=v2 -- node server.js
      mesh run --service bars --port 8000 --port grpc=50051 -- python -m bars
      mesh run --service probe -- curl http://orders/health/ready
    """
    run_workload(
        app,
        JoinTarget(control_plane, advertise, bind, has_token=token_file is not None),
        ports=[parse_port(text, protocol.value, lowest=0) for text in port],
        timeout=timeout,
        state=state,
        service=service,
        instance=instance,
        labels=label,
        upstreams=upstream,
        token_file=token_file,
        command=tuple(command),
        outbound_port=outbound_port,
        inbound_port=inbound_port,
        ready_port=ready_port,
        otlp_port=otlp_port,
        stop_grace=grace,
    )


def run_workload(
    app: AppOptions,
    target: JoinTarget,
    *,
    ports: Iterable[AppPort],
    timeout: float,
    state: Path | None,
    command: tuple[str, ...],
    **fields: Any,
) -> None:
    """Run a process as part of the mesh until it ends, and exit with its code.

    `fields` are those of `build_workload`.
    """
    _check_program(command[0])
    workload = build_workload(
        **app.fields(),
        ports=tuple(_free_port(port) for port in ports),
        command=command,
        attached=True,
        **fields,
    )
    silence_grpc()
    from meshwright.cli.join.runner import WorkloadRunner  # imports gRPC

    with join_mesh(workload, target, state, timeout) as joined:
        code = asyncio.run(WorkloadRunner(joined).run(timeout))
    raise typer.Exit(code)


def _check_program(program: str) -> None:
    """Raise CommandError with the exit code of shells if the program is missing or not executable."""
    if which(program) is None:
        missing = which(program, os.F_OK) is None
        reason = "command not found" if missing else "not executable"
        raise CommandError(
            NOT_FOUND if missing else NOT_EXECUTABLE, f"{program}: {reason}: give a program after --"
        )


def _free_port(port: AppPort) -> AppPort:
    """The port, if no process listens there; raises InputError otherwise."""
    number = port.app_port
    if number and not is_free(LOOPBACK, number):
        raise InputError(f"--port {number}: port in use{process_on_port(number)}: free it, or choose another")
    return port
