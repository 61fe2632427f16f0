"""What one agent is told to keep: the file `mesh up` writes and `python -m meshwright.sidecar --config FILE` reads."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from meshwright.control_plane.api.models.base import LabelKey, LabelValue, Name, Port
from meshwright.control_plane.api.spiffe import NAME_PATTERN
from meshwright.control_plane.api.state_dir import MeshAddresses


class ConfigModel(BaseModel):
    """Base of the file's parts: immutable; a key it does not know is a mistake of who wrote the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AppPort(ConfigModel):
    """A port of the service, and where its app listens on loopback: `app_port` 0 means a free one."""

    name: Name = "http"
    protocol: Literal["http", "grpc", "tcp"] = "http"
    number: int = Field(0, ge=0, le=65535)
    app_port: int = Field(0, ge=0, le=65535)

    @property
    def service_port(self) -> Port:
        """The port as other services may know it."""
        return Port(name=self.name, protocol=self.protocol, number=self.number)


UpstreamName = Annotated[str, Field(pattern=f"^{NAME_PATTERN}(:{NAME_PATTERN})?$")]


class Workload(ConfigModel):
    """One sidecar and, with a `command`, the app behind it. Ports of 0 are allotted; times are seconds.

    `health` is the path of an HTTP check; without one a port is asked for a connection only, and a gRPC port
    by the standard health service where it has one. `command` None: the app is not ours to start.
    `metrics` is the path at which the app has figures for Prometheus, on its first HTTP port.
    `attached`: the app has the agent's own terminal and lives once; when it ends, so does the agent.
    `upstreams`: TCP services that the app calls (`db`, or `db:replica` for a port by its name), and the port
    at which it would like to find them.
    """

    name: Name
    role: Literal["service", "gateway"] = "service"
    service: Name
    token_file: Path
    ports: tuple[AppPort, ...] = Field((), max_length=16)
    labels: dict[LabelKey, LabelValue] = {}
    command: tuple[str, ...] | None = None
    attached: bool = False
    cwd: Path | None = None
    env: dict[str, str] = {}
    health: str | None = Field(None, pattern=r"^/\S*$")
    outbound_port: int = Field(0, ge=0, le=65535)
    inbound_port: int = Field(0, ge=0, le=65535)
    ready_port: int = Field(0, ge=0, le=65535)
    otlp_port: int = Field(0, ge=0, le=65535)
    metrics: str | None = Field(None, pattern=r"^/\S*$")
    upstreams: dict[UpstreamName, Annotated[int, Field(ge=0, le=65535)]] = Field({}, max_length=64)
    gateway_ports: dict[Name, Annotated[int, Field(ge=0, le=65535)]] = {}
    stop_grace: float = Field(10.0, ge=0, le=3600)

    @model_validator(mode="after")
    def _check(self) -> Workload:
        names = [port.name for port in self.ports]
        if len(set(names)) != len(names):
            raise ValueError(f"{self.name}: two ports of one name: give each its own")
        if self.role == "gateway" and self.command is not None:
            raise ValueError(f"{self.name}: a gateway has no app: leave out command")
        if self.command == ():
            raise ValueError(f"{self.name}: command is empty: name a program, or leave it out")
        return self


class AgentConfig(ConfigModel):
    """The whole file. `bind` is where sidecars listen, `advertise` how other nodes reach them.

    `otlp` is the `host:port` of an OTLP/gRPC collector that takes the spans, in the clear. Empty: the control
    plane takes them, where its addresses say that it does; else nothing is traced.
    """

    addresses: MeshAddresses
    state: Path
    envoy: Path
    bind: str = "127.0.0.1"
    advertise: str = "127.0.0.1"
    trust_domain: str = "mesh.local"
    otlp: str = ""
    workloads: tuple[Workload, ...] = ()

    @property
    def tracing(self) -> bool:
        """Whether there is somebody to send spans to."""
        return bool(self.otlp or self.addresses.otlp)

    @model_validator(mode="after")
    def _check(self) -> AgentConfig:
        if self.trust_domain != self.addresses.trust_domain:
            theirs = self.addresses.trust_domain
            raise ValueError(f"trust_domain is {self.trust_domain}, but the control plane's is {theirs}")
        names = [workload.name for workload in self.workloads]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two workloads are named {twice[0]}: give each its own name")
        return self


def load_config(path: Path) -> AgentConfig:
    """The configuration in `path`; raises OSError, or ValueError (pydantic's) saying what is wrong where."""
    return AgentConfig.model_validate_json(path.read_bytes())
