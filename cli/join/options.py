"""The options by which a process says how it joins a mesh; `mesh run` and `mesh agent` share them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class PortProtocol(StrEnum):
    """What a process speaks at its port."""

    http = "http"
    grpc = "grpc"
    tcp = "tcp"


ServiceOption = Annotated[
    str, typer.Option("--service", metavar="NAME", help="The service it is an instance of.")
]
ProtocolOption = Annotated[PortProtocol, typer.Option("--protocol", help="What it speaks there.")]
LabelOption = Annotated[
    list[str],
    typer.Option("--label", metavar="KEY=VALUE", help="A label that a Subset can choose by. Repeatable."),
]
UpstreamOption = Annotated[
    list[str],
    typer.Option(
        "--upstream",
        metavar="NAME[=PORT]",
        help="A TCP service it calls: db is found at $DB_ADDRESS, at PORT where that can be. Repeatable.",
    ),
]
InstanceOption = Annotated[
    str,
    typer.Option("--instance", metavar="NAME", help="Its own name. [default: the service's and random]"),
]
HealthOption = Annotated[
    str,
    typer.Option(
        "--health", metavar="PATH", help="Path that answers 2xx when ready; without: a connection is enough."
    ),
]
MetricsOption = Annotated[
    str,
    typer.Option("--metrics", metavar="PATH", help="Path of its metrics for Prometheus."),
]
ReadyTimeoutOption = Annotated[
    float, typer.Option("--timeout", min=1, max=600, help="Seconds until its sidecar has to be ready.")
]
TokenFileOption = Annotated[
    Path | None,
    typer.Option("--token-file", metavar="FILE", help="Its join token. [default: made by the local mesh]"),
]
ControlPlaneOption = Annotated[
    str,
    typer.Option(
        "--control-plane",
        metavar="HOST",
        help="Join a mesh elsewhere, at MESH_XDS_PORT and MESH_ENROLMENT_PORT. [default: that of --state]",
    ),
]
AdvertiseOption = Annotated[
    str,
    typer.Option(
        "--advertise",
        metavar="ADDR",
        help="How other nodes reach this one; auto: by the address that it reaches the control plane from. "
        "[default: $MESH_ADVERTISE or 127.0.0.1]",
    ),
]
BindOption = Annotated[
    str,
    typer.Option(
        "--bind",
        metavar="ADDR",
        help="Where its sidecar takes calls. [default: $MESH_BIND or 127.0.0.1; every address where "
        "--advertise is no loopback]",
    ),
]
GatewayOption = Annotated[
    str, typer.Option("--gateway", metavar="NAME", help="The gateway that it is, in place of a service.")
]
ListenerOption = Annotated[
    list[str],
    typer.Option(
        "--listener",
        metavar="NAME=PORT",
        help="Where a listener of the gateway takes requests. Repeatable. [default: http=8080]",
    ),
]
RunPortOption = Annotated[
    int | None,
    typer.Option(
        "--port",
        min=0,
        max=65535,
        help="Where it listens on loopback; 0: look at PORT; without: nowhere.",
    ),
]
AppPortsOption = Annotated[
    list[str],
    typer.Option(
        "--port",
        metavar="[NAME=]PORT",
        help="Where the app listens on loopback; without: nowhere. A port named http, grpc or tcp speaks "
        "that, any other what --protocol says. Repeatable.",
    ),
]
OutboundPortOption = Annotated[
    int, typer.Option(min=0, max=65535, help="The app's HTTP_PROXY, on loopback; 0: a free one.")
]
InboundPortOption = Annotated[
    int, typer.Option(min=0, max=65535, help="Where other sidecars call; 0: a free one.")
]
ReadyPortOption = Annotated[
    int, typer.Option(min=0, max=65535, help="/ready and /stats/prometheus; 0: a free one.")
]
OtlpPortOption = Annotated[
    int, typer.Option(min=0, max=65535, help="Takes the app's spans, on loopback; 0: a free one.")
]
