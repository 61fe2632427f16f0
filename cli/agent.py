"""`mesh agent`: a sidecar for an app that others start, as in a container or on a virtual machine."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from cli.join import Asked, joined
from cli.join_options import (
    AdvertiseOption,
    BindOption,
    ControlPlaneOption,
    HealthOption,
    InstanceOption,
    LabelOption,
    ProtocolOption,
    ServiceOption,
    Speaks,
    TokenFileOption,
    UpstreamOption,
)
from cli.joined_life import Life
from cli.options import StateOption


def agent(
    *,
    service: ServiceOption,
    port: Annotated[
        int | None,
        typer.Option("--port", min=1, max=65535, help="Where the app listens on loopback; without: nowhere."),
    ] = None,
    protocol: ProtocolOption = Speaks.http,
    label: LabelOption = [],  # noqa: B006  typer copies it
    upstream: UpstreamOption = [],  # noqa: B006  typer copies it
    instance: InstanceOption = "",
    health: HealthOption = "",
    token_file: TokenFileOption = None,
    control_plane: ControlPlaneOption = "",
    advertise: AdvertiseOption = "",
    bind: BindOption = "",
    outbound_port: Annotated[
        int, typer.Option(min=0, max=65535, help="The app's HTTP_PROXY, on loopback; 0: a free one.")
    ] = 15001,
    inbound_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Where other sidecars call; 0: a free one.")
    ] = 15006,
    ready_port: Annotated[
        int, typer.Option(min=0, max=65535, help="/ready and /stats/prometheus; 0: a free one.")
    ] = 15020,
    state: StateOption = None,
) -> None:
    """Keep a sidecar beside an app that is started by others: in its container, or on its machine.

    The app is healthy when its port takes connections, or --health says so, and may come and go. It calls
    other services by HTTP_PROXY=http://127.0.0.1:15001. SIGTERM keeps callers away before it stops. What is
    logged goes to stderr, as JSON.

    \b
    Example:
      mesh token create --service orders --out orders.token
      mesh agent --service orders --port 8000 --token-file orders.token \\
        --control-plane 10.0.0.1 --advertise 10.0.0.2
    """
    asked = Asked(
        service=service,
        instance=instance,
        port=port,
        protocol=protocol.value,
        labels=tuple(label),
        upstreams=tuple(upstream),
        health=health,
        token_file=token_file,
        control_plane=control_plane,
        advertise=advertise,
        bind=bind,
        outbound=outbound_port,
        inbound=inbound_port,
        ready=ready_port,
    )
    with joined(asked, state) as config:
        asyncio.run(Life(config).serve(sys.stderr))
