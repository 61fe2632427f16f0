"""`mesh agent`: a sidecar for an app that others start, as in a container or on a virtual machine."""

from __future__ import annotations

import asyncio
import sys

from meshwright.cli.join.options import (
    AdvertiseOption,
    AppPortsOption,
    BindOption,
    ControlPlaneOption,
    GatewayOption,
    HealthOption,
    InboundPortOption,
    InstanceOption,
    LabelOption,
    ListenerOption,
    MetricsOption,
    OtlpPortOption,
    OutboundPortOption,
    PortProtocol,
    ProtocolOption,
    ReadyPortOption,
    ServiceOption,
    TokenFileOption,
    UpstreamOption,
)
from meshwright.cli.join.runner import WorkloadRunner
from meshwright.cli.join.setup import join_mesh
from meshwright.cli.join.workload import JoinOptions, parse_port
from meshwright.cli.options import StateOption
from meshwright.control_plane.errors import InputError


def agent(
    *,
    service: ServiceOption = "",
    gateway: GatewayOption = "",
    listener: ListenerOption = [],  # noqa: B006  typer copies it
    port: AppPortsOption = [],  # noqa: B006  typer copies it
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
    outbound_port: OutboundPortOption = 15001,
    inbound_port: InboundPortOption = 15006,
    ready_port: ReadyPortOption = 15020,
    otlp_port: OtlpPortOption = 0,
    state: StateOption = None,
) -> None:
    """Keep a sidecar beside an app that is started by others: in its container, or on its machine.

    The app is healthy when its port takes connections, or --health says so, and may come and go. It calls
    other services by HTTP_PROXY=http://127.0.0.1:15001. SIGTERM keeps callers away before it stops. What is
    logged goes to stderr, as JSON. With --gateway it keeps a gateway, which has no app.

    \b
    Example:
      mesh token create --service orders --out orders.token
      mesh agent --service orders --port 8000 --token-file orders.token \\
        --control-plane 10.0.0.1 --advertise 10.0.0.2
      mesh agent --gateway ingress --listener http=8080 --token-file ingress.token --control-plane 10.0.0.1 \\
        --advertise auto
    """
    if bool(service) == bool(gateway):
        raise InputError("name exactly one of --service and --gateway")
    asked = JoinOptions(
        service=service or gateway,
        role="service" if service else "gateway",
        listeners=tuple(listener or (["http=8080"] if gateway else [])),
        instance=instance,
        ports=tuple(parse_port(one, protocol.value) for one in port),
        labels=tuple(label),
        upstreams=tuple(upstream),
        health=health,
        metrics=metrics,
        token_file=token_file,
        control_plane=control_plane,
        advertise=advertise,
        bind=bind,
        outbound=outbound_port,
        inbound=inbound_port,
        ready=ready_port,
        otlp=otlp_port,
    )
    with join_mesh(asked, state) as config:
        asyncio.run(WorkloadRunner(config).serve(sys.stderr))
