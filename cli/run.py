"""`mesh run`: run a process as part of a running mesh, behind a sidecar of its own."""

from __future__ import annotations

import asyncio
import os
from shutil import which
from typing import Annotated

import typer

from meshwright.cli.errors import CommandError
from meshwright.cli.join.grpc_log import silence_grpc
from meshwright.cli.join.options import (
    AdvertiseOption,
    BindOption,
    ConcurrencyOption,
    ConnectTimeoutOption,
    ControlPlaneOption,
    GraceOption,
    HealthIntervalOption,
    HealthOption,
    HealthTimeoutOption,
    HealthyAfterOption,
    InboundPortOption,
    InstanceOption,
    LabelOption,
    MetricsOption,
    OtlpPortOption,
    OutboundOption,
    OutboundPortOption,
    PortProtocol,
    ProtocolOption,
    ReadyPortOption,
    RunPortsOption,
    ServiceOption,
    SidecarTimeoutOption,
    StartupOption,
    TokenFileOption,
    UnhealthyAfterOption,
    UpstreamOption,
)
from meshwright.cli.join.setup import JoinTarget, join_mesh
from meshwright.cli.join.workload import build_workload, parse_port
from meshwright.cli.options import StateOption
from meshwright.control_plane.errors import InputError
from meshwright.sidecar.config import CONNECT_TIMEOUT
from meshwright.sidecar.health_settings import HealthSettings
from meshwright.sidecar.ports import LOOPBACK, is_free, process_on_port

DEFAULTS = HealthSettings()

NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""Exit codes of shells."""


def run(
    command: Annotated[
        list[str], typer.Argument(metavar="COMMAND", help="Program and arguments. Put -- before them.")
    ],
    *,
    service: ServiceOption,
    port: RunPortsOption = [],  # noqa: B006  typer copies it
    protocol: ProtocolOption = PortProtocol.http,
    label: LabelOption = [],  # noqa: B006  typer copies it
    upstream: UpstreamOption = [],  # noqa: B006  typer copies it
    instance: InstanceOption = "",
    health: HealthOption = "",
    health_interval: HealthIntervalOption = DEFAULTS.interval,
    health_timeout: HealthTimeoutOption = DEFAULTS.timeout,
    unhealthy_after: UnhealthyAfterOption = DEFAULTS.unhealthy_after,
    healthy_after: HealthyAfterOption = DEFAULTS.healthy_after,
    startup: StartupOption = DEFAULTS.startup,
    connect_timeout: ConnectTimeoutOption = CONNECT_TIMEOUT,
    concurrency: ConcurrencyOption = 0,
    metrics: MetricsOption = "",
    token_file: TokenFileOption = None,
    control_plane: ControlPlaneOption = "",
    advertise: AdvertiseOption = "",
    bind: BindOption = "",
    outbound: OutboundOption = None,
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
    _check_program(command[0])
    ports = tuple(parse_port(text, protocol.value, lowest=0) for text in port)
    for app_port in ports:
        _check_port(app_port.app_port)
    workload = build_workload(
        service=service,
        instance=instance,
        labels=label,
        upstreams=upstream,
        health={
            "path": health or None,
            "interval": health_interval,
            "timeout": health_timeout,
            "unhealthy_after": unhealthy_after,
            "healthy_after": healthy_after,
            "startup": startup,
        },
        connect_timeout=connect_timeout,
        concurrency=concurrency,
        metrics=metrics,
        token_file=token_file,
        ports=ports,
        command=tuple(command),
        attached=True,
        outbound=outbound,
        outbound_port=outbound_port,
        inbound_port=inbound_port,
        ready_port=ready_port,
        otlp_port=otlp_port,
        stop_grace=grace,
    )
    silence_grpc()
    from meshwright.cli.join.runner import WorkloadRunner  # imports gRPC

    target = JoinTarget(control_plane, advertise, bind, has_token=token_file is not None)
    with join_mesh(workload, target, state) as config:
        code = asyncio.run(WorkloadRunner(config).run(timeout))
    raise typer.Exit(code)


def _check_program(program: str) -> None:
    """Raise CommandError with the exit code of shells if the program is missing or not executable."""
    if which(program) is None:
        missing = which(program, os.F_OK) is None
        reason = "command not found" if missing else "not executable"
        raise CommandError(
            NOT_FOUND if missing else NOT_EXECUTABLE, f"{program}: {reason}: give a program after --"
        )


def _check_port(port: int) -> None:
    if port and not is_free(LOOPBACK, port):
        raise InputError(f"--port {port}: port in use{process_on_port(port)}: free it, or choose another")
