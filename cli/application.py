"""The application file of `mesh up`, and the agent's workloads that it describes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from meshwright.control_plane.api.models.base import Name, Protocol
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.policies.base import Combine, Policy, Spec
from meshwright.control_plane.policies.duration import Duration
from meshwright.control_plane.policies.field_types import Labels, PortNumber
from meshwright.control_plane.policies.gateway.edge import EdgeSettings, edge_settings
from meshwright.control_plane.policies.loader import load
from meshwright.sidecar.config import CONNECT_TIMEOUT, AppPort, UpstreamName, Workload
from meshwright.sidecar.health_settings import HealthSettings

MAX_REPLICAS = 100

AppPortNumber = Annotated[int, Field(strict=True, ge=0, le=65535)]
HttpPath = Annotated[str, StringConstraints(max_length=1024, pattern=r"^/\S*$")]
Threshold = Annotated[int, Field(strict=True, ge=1, le=100)]
WorkerThreads = Annotated[int, Field(strict=True, ge=1, le=256)]
CheckTime = Annotated[Duration, Field(ge=timedelta(milliseconds=100), le=timedelta(hours=1))]
CommandArgument = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
OutboundMode = Literal["allow", "deny"]


class ServicePort(Spec):
    """A port of a service."""

    name: Name = Field("http", description="Name of the port. The app gets its number as PORT_<NAME>.")
    port: AppPortNumber = Field(0, description="Loopback port of the app; 0 picks a free one.")
    number: AppPortNumber = Field(0, description="Port that callers use, as in NAME:NUMBER; 0 means `port`.")
    protocol: Protocol = Field("http", description="http, grpc or tcp.")


class HealthEntry(Spec):
    """When an instance counts as healthy. Its sidecar's agent checks it on loopback."""

    path: HttpPath | None = Field(
        None,
        description="Path that responds with 2xx or 3xx when ready. Default: grpc.health.v1 for a grpc port, "
        "else a TCP connection is enough.",
    )
    interval: CheckTime = Field(
        timedelta(seconds=10),
        description="Time between checks. After a failure and while unhealthy: 1s, if that is shorter.",
    )
    timeout: CheckTime = Field(timedelta(seconds=5), description="A check that takes longer has failed.")
    unhealthy_after: Threshold = Field(3, description="Consecutive failed checks until it is unhealthy.")
    healthy_after: Threshold = Field(2, description="Consecutive good checks until it is healthy again.")
    startup: Duration = Field(
        timedelta(seconds=30),
        le=timedelta(days=1),
        description="Time to its first good check, within which it counts as starting.",
    )


def _health_settings(value: Any) -> Any:
    """A path alone is short for `{path: ...}`."""
    return {"path": value} if isinstance(value, str) else value


class ServiceEntry(Spec):
    """A service, or some of its replicas: entries of one name are replicas with other labels."""

    name: Name = Field(description="Name that callers use: http://NAME/.")
    command: tuple[CommandArgument, ...] = Field(
        min_length=1, max_length=256, description="Program and arguments."
    )
    ports: tuple[ServicePort, ...] = Field(
        (ServicePort(),),
        max_length=16,
        description="The first http port is also port 80. `[]`: it calls others, and nobody calls it.",
    )
    replicas: int = Field(1, strict=True, ge=0, le=MAX_REPLICAS, description="Number of processes.")
    labels: Labels = Field((), max_length=32, description="Labels that a Subset can select.")
    upstreams: tuple[UpstreamName, ...] = Field(
        (),
        max_length=64,
        description="TCP services that it calls: db is at DB_ADDRESS, db:replica at DB_REPLICA_ADDRESS.",
    )
    env: dict[str, str] = Field(default_factory=dict, description="Environment variables of the process.")
    outbound: OutboundMode | None = Field(
        None, description="Its calls to hosts outside the mesh: allow or deny. Default: that of the file."
    )
    health: Annotated[
        HealthEntry, BeforeValidator(_health_settings, json_schema_input_type=HealthEntry | HttpPath)
    ] = Field(HealthEntry(), description="The health check, or only its path: `health: /ready`.")
    connect_timeout: CheckTime = Field(
        timedelta(seconds=CONNECT_TIMEOUT),
        description="How long the sidecar waits until its app accepts a connection. It waits only for an app "
        "that is too busy to accept.",
    )
    concurrency: WorkerThreads = Field(1, description="Worker threads of each sidecar.")
    watch: tuple[str, ...] = Field(
        (),
        max_length=64,
        description="Files and folders, relative to this file, whose change replaces its instances under "
        "`mesh up --watch`. Default: the source files that its command names.",
    )
    metrics: str | None = Field(
        None, pattern=r"^/\S*$", description="Path of its Prometheus metrics, on its first http port."
    )

    @model_validator(mode="after")
    def _unique_port_names(self) -> Self:
        names = [port.name for port in self.ports]
        if len(set(names)) < len(names):
            raise ValueError("two ports have the same name: names must be unique")
        return self

    @model_validator(mode="after")
    def _has_http_port(self) -> Self:
        paths = {"health.path": self.health.path, "metrics": self.metrics}
        setting = next((name for name, path in paths.items() if path), "")
        if setting and all(port.protocol != "http" for port in self.ports):
            raise ValueError(f"{setting} is asked at the first http port, but there is none")
        return self


class GatewayEntry(EdgeSettings):
    """A gateway: an Envoy that accepts requests from outside the mesh. A Gateway document may replace what it
    says about clients."""

    name: Name = Field(description="Name of the gateway, as in the parentRefs of routes.")
    port: PortNumber = Field(8080, description="Port of its http listener.")
    listeners: dict[Name, PortNumber] = Field(
        default_factory=dict,
        max_length=16,
        description="Ports of other listeners of its Gateway document, by name, such as https: 8443. Without "
        "an entry a listener has the port of the document.",
    )
    concurrency: WorkerThreads | None = Field(
        None, description="Worker threads of its Envoy. Default: one for each core."
    )

    @model_validator(mode="after")
    def _distinct_ports(self) -> Self:
        if "http" in self.listeners:
            raise ValueError("the port of listener http is `port`: leave it out of listeners")
        ports = [self.port, *self.listeners.values()]
        if len(set(ports)) < len(ports):
            raise ValueError("two listeners have the same port: give each its own")
        return self


class ApplicationSpec(Spec):
    """Services, gateways and initial policies."""

    outbound: OutboundMode | None = Field(
        None,
        description="Calls of all services to hosts outside the mesh: allow or deny. Default: MESH_OUTBOUND.",
    )

    policies: tuple[str, ...] = Field(
        (), max_length=64, description="Files or folders, relative to this file, applied on the first start."
    )
    gateways: tuple[GatewayEntry, ...] = Field((), max_length=16, description="Entry points of the mesh.")
    services: tuple[ServiceEntry, ...] = Field((), max_length=500, description="Services to run.")

    @model_validator(mode="after")
    def _unique_gateway_names(self) -> Self:
        names = [gateway.name for gateway in self.gateways]
        if len(set(names)) < len(names):
            raise ValueError("two gateways have the same name: names must be unique")
        if shared := {service.name for service in self.services}.intersection(names):
            raise ValueError(f"a service and a gateway are both named {min(shared)}: rename one of them")
        return self


class Application(Policy):
    """What `mesh up` runs: services with their commands, gateways, and initial policies."""

    combine: ClassVar[Combine] = "resource"

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["Application"] = Field(description="Always Application.")
    spec: ApplicationSpec = Field(description="What to run.")


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """A process to run: its name and the service entry that describes it."""

    name: str
    entry: ServiceEntry


def read_application(path: Path) -> Application:
    """Read an application file; raises InputError, a line per problem."""
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InputError(f"{path}: {reason}: give an application file with -f") from None
    loaded = load(content, str(path), {"Application": Application})
    if loaded.problems:
        raise InputError("\n".join(str(problem) for problem in loaded.problems))
    if len(loaded.documents) != 1:
        second = loaded.documents[1]
        raise InputError(f"{path}:{second.line}:1: second document: an application file has exactly one")
    application = loaded.documents[0].policy
    assert isinstance(application, Application)  # noqa: S101  the only kind that the loader was given
    return application


def with_gateway_ports(application: Application, ports: Mapping[str, int]) -> Application:
    """The application with other ports for its gateways; raises InputError for an unknown gateway."""
    spec = application.spec
    names = [gateway.name for gateway in spec.gateways]
    for name in sorted(ports.keys() - set(names)):
        raise InputError(f"{name}: no such gateway: the application has {', '.join(names) or 'none'}")
    gateways = tuple(
        gateway.model_copy(update={"port": ports.get(gateway.name, gateway.port)})
        for gateway in spec.gateways
    )
    return application.model_copy(update={"spec": spec.model_copy(update={"gateways": gateways})})


def instances(
    spec: ApplicationSpec, only: Iterable[str] = (), scale: Mapping[str, int] | None = None
) -> tuple[InstanceSpec, ...]:
    """The processes to run, named NAME-1, NAME-2 and so on.

    `only` names the services to run (empty: all). `scale` sets the total replicas of a service, taken in turn
    from its entries. Raises InputError for an unknown service.
    """
    scale = scale or {}
    entries: dict[str, list[ServiceEntry]] = defaultdict(list)
    for entry in spec.services:
        entries[entry.name].append(entry)
    selected = set(only)
    for name in sorted({*selected, *scale} - entries.keys()):
        raise InputError(f"{name}: no such service: the application has {', '.join(sorted(entries))}")
    result: list[InstanceSpec] = []
    for name, variants in entries.items():
        if selected and name not in selected:
            continue
        replicas = [entry for entry in variants for _ in range(entry.replicas)]
        if name in scale:
            replicas = [variants[index % len(variants)] for index in range(scale[name])]
        result += [InstanceSpec(f"{name}-{number}", entry) for number, entry in enumerate(replicas, 1)]
    return tuple(result)


def workloads(
    spec: ApplicationSpec,
    instances: Iterable[InstanceSpec],
    folder: Path,
    tokens: Path,
    environment: Mapping[str, str],
) -> tuple[Workload, ...]:
    """The agent's workloads: the gateways, then each instance.

    Commands run in `folder`, with `environment` beneath their own `env`. `tokens` has a join token in a file
    for each name.
    """
    gateways = [
        Workload(
            name=gateway.name,
            role="gateway",
            service=gateway.name,
            token_file=tokens / gateway.name,
            gateway_ports={"http": gateway.port, **gateway.listeners},
            concurrency=gateway.concurrency or 0,
            edge=_edge(gateway),
        )
        for gateway in spec.gateways
    ]
    tcp_ports = _tcp_port_numbers(spec)
    services = (
        _workload(item, folder, tokens, environment, tcp_ports, outbound=spec.outbound) for item in instances
    )
    return (*gateways, *services)


def _edge(gateway: GatewayEntry) -> str:
    """What the entry sets explicitly about clients, as JSON; empty for nothing."""
    settings = edge_settings(gateway)
    return settings.model_dump_json(by_alias=True, exclude_unset=True) if settings.model_fields_set else ""


def _tcp_port_numbers(spec: ApplicationSpec) -> Mapping[str, int]:
    """The number of each tcp port in the file, by service (its first one) and by `service:port`."""
    numbers: dict[str, int] = {}
    for entry in spec.services:
        for port in entry.ports:
            if port.protocol == "tcp":
                number = port.number or port.port
                numbers.setdefault(entry.name, number)
                numbers.setdefault(f"{entry.name}:{port.name}", number)
    return numbers


def _workload(
    instance: InstanceSpec,
    folder: Path,
    tokens: Path,
    environment: Mapping[str, str],
    tcp_ports: Mapping[str, int],
    *,
    outbound: OutboundMode | None,
) -> Workload:
    entry = instance.entry
    ports = tuple(
        AppPort(name=port.name, protocol=port.protocol, number=port.number or port.port, app_port=port.port)
        for port in entry.ports
    )
    return Workload(
        name=instance.name,
        service=entry.name,
        token_file=tokens / entry.name,
        ports=ports,
        labels=dict(entry.labels),
        command=entry.command,
        cwd=folder,
        env={**environment, **entry.env},
        upstreams={name: tcp_ports.get(name, 0) for name in entry.upstreams},
        health=_health_check(entry.health),
        connect_timeout=entry.connect_timeout.total_seconds(),
        concurrency=entry.concurrency,
        outbound=entry.outbound or outbound,
        metrics=entry.metrics,
    )


def _health_check(entry: HealthEntry) -> HealthSettings:
    return HealthSettings(
        path=entry.path,
        interval=entry.interval.total_seconds(),
        timeout=entry.timeout.total_seconds(),
        unhealthy_after=entry.unhealthy_after,
        healthy_after=entry.healthy_after,
        startup=entry.startup.total_seconds(),
    )
