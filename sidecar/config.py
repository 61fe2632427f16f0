"""The configuration of one agent: the file from which the next one goes on (`--config FILE`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from meshwright.control_plane.api.hosts import valid_host
from meshwright.control_plane.api.models.base import IpAddress, LabelKey, LabelValue, Name
from meshwright.control_plane.api.models.instances import Port
from meshwright.control_plane.api.private_files import read_named
from meshwright.control_plane.api.spiffe import NAME_PATTERN
from meshwright.control_plane.api.state_dir import CERTIFICATES_FOLDER, MeshAddresses
from meshwright.sidecar.health_settings import HealthField, HealthSettings

AGENT_CONFIG_FILE = "agent-config.json"
"""The file's name in an agent's folder."""

CONNECT_TIMEOUT = 120.0
"""Seconds that a sidecar waits until its app accepts a connection.

Where nothing listens a connection is refused at once. It waits only while the backlog of a busy app is full,
and there Linux itself tries for 127 s (`tcp_syn_retries`), which is what a caller without a mesh gets.
"""


class ConfigModel(BaseModel):
    """Base of the file's models: immutable, rejects unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AppPort(ConfigModel):
    """A port of the service. The app listens at `app_port`; 0 means that the agent picks one."""

    name: Name = "http"
    protocol: Literal["http", "grpc", "tcp"] = "http"
    number: int = Field(0, ge=0, le=65535)
    app_port: int = Field(0, ge=0, le=65535)

    @property
    def service_port(self) -> Port:
        """The port as other services see it."""
        return Port(name=self.name, protocol=self.protocol, number=self.number)


UpstreamName = Annotated[str, Field(pattern=f"^{NAME_PATTERN}(:{NAME_PATTERN})?$")]


class Workload(ConfigModel):
    """One sidecar and, with a `command`, its app. The agent picks ports that are 0. Times are in seconds.

    `health` is a HealthSettings, or only the path of an HTTP check. `command` None: someone else starts the
    app. `connect_timeout` limits how long the sidecar waits until the app accepts a connection.
    `concurrency` is the number of Envoy's worker threads; 0: one for a service, all cores for a gateway.
    `metrics` is the path of the app's Prometheus metrics at its first HTTP port.
    `attached`: the app uses the agent's terminal and runs once; when it exits, so does the agent.
    `upstreams`: TCP services that the app calls (`db`, or `db:replica` for a named port) and the port where
    the app expects each of them.
    `outbound`: whether calls to hosts outside the mesh pass; None: as the mesh says. `edge`: a gateway's
    settings towards clients, as JSON that the control plane checks. `port_option`: the option by which its
    ports were chosen; empty: none.
    `app_address`: the IP address of this host where the app listens.
    `app_env_file`: where the environment of an app that someone else starts is written; its sidecar then
    serves only callers with the credential in it.
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
    health: HealthField = HealthSettings()
    connect_timeout: float = Field(CONNECT_TIMEOUT, ge=0.1, le=3600)
    app_address: IpAddress = "127.0.0.1"
    concurrency: int = Field(0, ge=0, le=256)
    outbound_port: int = Field(0, ge=0, le=65535)
    inbound_port: int = Field(0, ge=0, le=65535)
    ready_port: int = Field(0, ge=0, le=65535)
    otlp_port: int = Field(0, ge=0, le=65535)
    metrics: str | None = Field(None, pattern=r"^/\S*$")
    upstreams: dict[UpstreamName, Annotated[int, Field(ge=0, le=65535)]] = Field({}, max_length=64)
    gateway_ports: dict[Name, Annotated[int, Field(ge=0, le=65535)]] = {}
    outbound: Literal["allow", "deny"] | None = None
    edge: str = Field("", max_length=8192)
    port_option: Literal["", "--port", "--listener"] = ""
    stop_grace: float = Field(10.0, ge=0, le=3600)
    app_env_file: Path | None = None

    @property
    def worker_threads(self) -> int:
        """Envoy's worker threads; 0: as many as there are cores."""
        return self.concurrency or (0 if self.role == "gateway" else 1)

    @property
    def is_replaceable(self) -> bool:
        """Whether a second instance of it can be started beside it: of what someone else starts, none can."""
        return self.role == "service" and self.command is not None and not self.attached

    @model_validator(mode="after")
    def _check(self) -> Workload:
        names = [port.name for port in self.ports]
        if len(set(names)) != len(names):
            raise ValueError(f"{self.name}: two ports have the same name: give each its own")
        if self.role == "gateway" and self.command is not None:
            raise ValueError(f"{self.name}: a gateway has no app: leave out command")
        if self.command == ():
            raise ValueError(f"{self.name}: command is empty: name a program, or leave it out")
        return self


class AgentConfig(ConfigModel):
    """The complete file. Sidecars listen at `bind`; other nodes reach them at `advertise`, an IP address or a
    host name.

    `otlp` is the `host:port` of an OTLP/gRPC collector for spans, without TLS. Empty: spans go to the control
    plane if its addresses include an OTLP port; otherwise nothing is traced. `drain_delay`: seconds for which
    a gateway that stops is not ready before it closes its ports. `certificates`: the folder with the
    certificates of gateways; without it, that of `state`.
    """

    addresses: MeshAddresses
    state: Path
    envoy: Path
    bind: str = "127.0.0.1"
    advertise: Annotated[str, AfterValidator(valid_host)] = "127.0.0.1"
    trust_domain: str = "mesh.local"
    otlp: str = ""
    drain_delay: float = Field(3.0, ge=0, le=30)
    certificates: Path | None = None
    proxy_credential: bool = True
    workloads: tuple[Workload, ...] = ()

    @property
    def certificate_folder(self) -> Path:
        """Where the files of Certificates are that have relative names."""
        return self.certificates or self.state / CERTIFICATES_FOLDER

    @property
    def tracing(self) -> bool:
        """Whether spans have a destination."""
        return bool(self.otlp or self.addresses.otlp)

    @model_validator(mode="after")
    def _check(self) -> AgentConfig:
        if self.trust_domain != self.addresses.trust_domain:
            expected = self.addresses.trust_domain
            raise ValueError(f"trust_domain is {self.trust_domain}, but the control plane's is {expected}")
        names = [workload.name for workload in self.workloads]
        duplicates = sorted({name for name in names if names.count(name) > 1})
        if duplicates:
            raise ValueError(f"two workloads are named {duplicates[0]}: give each its own name")
        return self


def load_config(path: Path) -> AgentConfig:
    """Read the configuration file.

    Raises OSError, InputError if everybody may write to it, or pydantic's ValidationError.
    """
    return AgentConfig.model_validate_json(read_named(path))
