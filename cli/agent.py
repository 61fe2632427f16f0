"""`mesh agent`: a sidecar for an app that something else starts, in a container or on a virtual machine."""

from __future__ import annotations

import asyncio
import sys

from meshwright.cli.join.grpc_log import silence_grpc
from meshwright.cli.join.option_groups import option_group
from meshwright.cli.join.options import (
    AdvertiseOption,
    AgentInboundPortOption,
    AgentTimeoutOption,
    AppEnvOption,
    AppOptions,
    AppPortsOption,
    BindOption,
    ControlPlaneOption,
    GatewayOption,
    InstanceOption,
    LabelOption,
    ListenerOption,
    OtlpPortOption,
    OutboundPortOption,
    PortProtocol,
    ProtocolOption,
    ReadyPortOption,
    ServiceOption,
    TokenFileOption,
    UpstreamOption,
)
from meshwright.cli.join.setup import JoinTarget, join_mesh
from meshwright.cli.join.waiting import JOIN_TIMEOUT
from meshwright.cli.join.workload import build_workload, parse_port
from meshwright.cli.options import StateOption
from meshwright.control_plane.errors import InputError

DEFAULT_LISTENER = "http=8080"
DEFAULT_INBOUND = 15006


@option_group("app", AppOptions)
def agent(
    *,
    app: AppOptions,
    service: ServiceOption = "",
    gateway: GatewayOption = "",
    listener: ListenerOption = [],  # noqa: B006  typer copies it
    port: AppPortsOption = [],  # noqa: B006  typer copies it
    protocol: ProtocolOption = PortProtocol.http,
    label: LabelOption = [],  # noqa: B006  typer copies it
    upstream: UpstreamOption = [],  # noqa: B006  typer copies it
    instance: InstanceOption = "",
    token_file: TokenFileOption = None,
    control_plane: ControlPlaneOption = "",
    advertise: AdvertiseOption = "",
    bind: BindOption = "",
    outbound_port: OutboundPortOption = 15001,
    inbound_port: AgentInboundPortOption = None,
    ready_port: ReadyPortOption = 15020,
    otlp_port: OtlpPortOption = 0,
    app_env: AppEnvOption = None,
    timeout: AgentTimeoutOption = None,
    state: StateOption = None,
) -> None:
    """Run a sidecar for an app that something else starts: in its container, or on its machine.

    The app is healthy when its port accepts connections or --health responds; it may start and stop at any
    time. It reaches other services through HTTP_PROXY=http://127.0.0.1:15001, or with the settings in the
    file of --app-env. SIGTERM drains the instance, then stops the sidecar. Logs go to stderr as JSON. With
    --gateway it runs a gateway, which has no app.

    \b
    Example:
      mesh token create --service orders --out orders.token
      mesh agent --service orders --port 8000 --token-file orders.token \\
        --control-plane 10.0.0.1 --advertise 10.0.0.2
      mesh agent --gateway ingress --listener http=8080 --token-file ingress.token --control-plane 10.0.0.1 \\
        --advertise auto
    """
    if bool(service) == bool(gateway):
        raise InputError("give exactly one of --service and --gateway")
    workload = build_workload(
        service=service or gateway,
        role="service" if service else "gateway",
        instance=instance,
        listeners=listener or ([DEFAULT_LISTENER] if gateway else []),
        port_option="--listener" if listener else "",
        labels=label,
        upstreams=upstream,
        **app.fields(),
        token_file=token_file,
        ports=tuple(parse_port(text, protocol.value) for text in port),
        outbound_port=outbound_port,
        inbound_port=(DEFAULT_INBOUND if service else 0) if inbound_port is None else inbound_port,
        ready_port=ready_port,
        otlp_port=otlp_port,
        app_env_file=app_env.absolute() if app_env else None,
    )
    silence_grpc()
    from meshwright.cli.join.runner import WorkloadRunner  # imports gRPC

    target = JoinTarget(control_plane, advertise, bind, has_token=token_file is not None)
    with join_mesh(workload, target, state, timeout or JOIN_TIMEOUT) as joined:
        asyncio.run(WorkloadRunner(joined).serve(sys.stderr, timeout))
