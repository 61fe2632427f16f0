"""The options of `mesh run` and `mesh agent`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from meshwright.cli.durations import duration_parser
from meshwright.sidecar.config import CONNECT_TIMEOUT
from meshwright.sidecar.health_settings import HealthSettings

_HEALTH = HealthSettings()


class PortProtocol(StrEnum):
    """The protocol of a port."""

    http = "http"
    grpc = "grpc"
    tcp = "tcp"


ServiceOption = Annotated[
    str, typer.Option("--service", metavar="NAME", help="Service that this instance belongs to.")
]
ProtocolOption = Annotated[PortProtocol, typer.Option("--protocol", help="Protocol of the port.")]
LabelOption = Annotated[
    list[str],
    typer.Option("--label", metavar="KEY=VALUE", help="Label that a Subset can select. Repeatable."),
]
UpstreamOption = Annotated[
    list[str],
    typer.Option(
        "--upstream",
        metavar="NAME[=PORT]",
        help="TCP service that the app calls. For service db the address is in $DB_ADDRESS. PORT is used if "
        "it is free. Repeatable.",
    ),
]
InstanceOption = Annotated[
    str,
    typer.Option(
        "--instance", metavar="NAME", help="Name of the instance. [default: the service with a random suffix]"
    ),
]
HealthOption = Annotated[
    str,
    typer.Option(
        "--health",
        metavar="PATH",
        help="Path that responds with 2xx or 3xx when the app is ready. [default: grpc.health.v1 for a grpc "
        "port, else a TCP connection is enough]",
    ),
]


def _duration(name: str, text: str, default: str, lowest: float = 0.1, highest: float = 3600) -> object:
    return typer.Option(
        name,
        metavar="DURATION",
        parser=duration_parser(lowest, highest),
        show_default=False,
        help=f"{text} [default: {default}]",
    )


HealthIntervalOption = Annotated[float, _duration("--health-interval", "Time between health checks.", "10s")]
HealthTimeoutOption = Annotated[
    float, _duration("--health-timeout", "A health check that takes longer has failed.", "5s")
]
UnhealthyAfterOption = Annotated[
    int,
    typer.Option(
        "--unhealthy-after", metavar="N", min=1, max=100, help="Failed checks in a row until it is unhealthy."
    ),
]
HealthyAfterOption = Annotated[
    int,
    typer.Option(
        "--healthy-after", metavar="N", min=1, max=100, help="Good checks in a row until it is healthy again."
    ),
]
StartupOption = Annotated[
    float, _duration("--startup", "How long the app may take to its first good check.", "30s", 0, 86400)
]
ConnectTimeoutOption = Annotated[
    float,
    _duration("--connect-timeout", "How long the sidecar waits until a busy app accepts a connection.", "2m"),
]
ConcurrencyOption = Annotated[
    int,
    typer.Option(
        "--concurrency",
        metavar="N",
        min=0,
        max=256,
        show_default=False,
        help="Worker threads of Envoy. [default: 1; a gateway: one for each core]",
    ),
]
MetricsOption = Annotated[
    str,
    typer.Option("--metrics", metavar="PATH", help="Path of the app's Prometheus metrics."),
]
GraceOption = Annotated[
    float,
    typer.Option(
        "--grace",
        metavar="DURATION",
        parser=duration_parser(0, 3600),
        show_default=False,
        help="How long the process has to stop. [default: 10s]",
    ),
]
SidecarTimeoutOption = Annotated[
    float,
    typer.Option(
        "--timeout",
        metavar="DURATION",
        parser=duration_parser(1, 600),
        show_default=False,
        help="How long to wait for a control plane or store that is away, and then for the sidecar to become "
        "ready. [default: 60s]",
    ),
]
AgentTimeoutOption = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="DURATION",
        parser=duration_parser(1, 600),
        show_default=False,
        help="Fail if the sidecar is not ready after this time, so that what supervises the agent sees it. "
        "[default: try on until it is]",
    ),
]
TokenFileOption = Annotated[
    Path | None,
    typer.Option(
        "--token-file", metavar="FILE", help="File with a join token. [default: the local mesh issues one]"
    ),
]
ControlPlaneOption = Annotated[
    str,
    typer.Option(
        "--control-plane",
        metavar="HOST",
        help="Join a mesh on another host, at MESH_XDS_PORT and MESH_ENROLMENT_PORT. "
        "[default: the mesh of --state]",
    ),
]
AdvertiseOption = Annotated[
    str,
    typer.Option(
        "--advertise",
        metavar="ADDR",
        help="IP address or host name at which other nodes reach this one. auto: the source address of "
        "connections to the control plane. [default: $MESH_ADVERTISE or 127.0.0.1]",
    ),
]
BindOption = Annotated[
    str,
    typer.Option(
        "--bind",
        metavar="ADDR",
        help="Address on which the sidecar accepts requests. [default: $MESH_BIND or 127.0.0.1; all "
        "addresses if --advertise is not a loopback address]",
    ),
]
GatewayOption = Annotated[
    str, typer.Option("--gateway", metavar="NAME", help="Run this gateway instead of a service's sidecar.")
]
ListenerOption = Annotated[
    list[str],
    typer.Option(
        "--listener",
        metavar="NAME=PORT",
        help="Port of a listener of the gateway. Repeatable. [default: http=8080]",
    ),
]
RunPortsOption = Annotated[
    list[str],
    typer.Option(
        "--port",
        metavar="[NAME=]PORT",
        help="Loopback port of the app. 0 picks a free one and passes it as $PORT (and $PORT_NAME). A port "
        "named http, grpc or tcp uses that protocol, any other uses --protocol. Repeatable. "
        "[default: the app does not listen]",
    ),
]
AppPortsOption = Annotated[
    list[str],
    typer.Option(
        "--port",
        metavar="[NAME=]PORT",
        help="Loopback port of the app. A port named http, grpc or tcp uses that protocol, any other uses "
        "--protocol. Repeatable. [default: the app does not listen]",
    ),
]


def _sidecar_port(text: str) -> object:
    return typer.Option(metavar="PORT", min=0, max=65535, help=f"{text}; 0 picks a free one.")


class OutboundChoice(StrEnum):
    """What happens to calls that leave the mesh."""

    allow = "allow"
    deny = "deny"


OutboundOption = Annotated[
    OutboundChoice | None,
    typer.Option(
        "--outbound",
        show_default=False,
        help="Calls of the app to hosts outside the mesh. [default: as the mesh says, MESH_OUTBOUND]",
    ),
]
OutboundPortOption = Annotated[int, _sidecar_port("Loopback port for the app's requests (HTTP_PROXY)")]
InboundPortOption = Annotated[int, _sidecar_port("Port on which other sidecars call the app")]
AgentInboundPortOption = Annotated[
    int | None,
    _sidecar_port(
        "Port on which other sidecars call the app, or a gateway for hosts outside the mesh "
        "(default: 15006, a free one for a gateway)"
    ),
]
ReadyPortOption = Annotated[int, _sidecar_port("Port of /ready and /stats/prometheus")]
AppEnvOption = Annotated[
    Path | None,
    typer.Option(
        "--app-env",
        metavar="FILE",
        help="Write the app's environment to FILE (mode 0600). The outbound port then serves only callers "
        "with the credential in it. [default: it serves every process that reaches its loopback]",
    ),
]
OtlpPortOption = Annotated[int, _sidecar_port("Loopback port that accepts the app's spans (OTLP)")]


@dataclass(frozen=True, slots=True)
class AppOptions:
    """How the sidecar treats its app and the app's calls; times in seconds."""

    health: HealthOption = ""
    health_interval: HealthIntervalOption = _HEALTH.interval
    health_timeout: HealthTimeoutOption = _HEALTH.timeout
    unhealthy_after: UnhealthyAfterOption = _HEALTH.unhealthy_after
    healthy_after: HealthyAfterOption = _HEALTH.healthy_after
    startup: StartupOption = _HEALTH.startup
    metrics: MetricsOption = ""
    connect_timeout: ConnectTimeoutOption = CONNECT_TIMEOUT
    concurrency: ConcurrencyOption = 0
    outbound: OutboundOption = None

    def fields(self) -> dict[str, Any]:
        """The fields of a Workload that they set."""
        return {
            "health": {
                "path": self.health or None,
                "interval": self.health_interval,
                "timeout": self.health_timeout,
                "unhealthy_after": self.unhealthy_after,
                "healthy_after": self.healthy_after,
                "startup": self.startup,
            },
            "metrics": self.metrics,
            "connect_timeout": self.connect_timeout,
            "concurrency": self.concurrency,
            "outbound": self.outbound,
        }
