"""The application file of `mesh up`: what runs here, and what that means for the agent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from meshwright.control_plane.api.models.base import Name, Protocol
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.policies.base import Combine, Policy, Spec
from meshwright.control_plane.policies.field_types import Labels, PortNumber
from meshwright.control_plane.policies.loader import load
from meshwright.sidecar.config import AppPort, UpstreamName, Workload

MAX_REPLICAS = 100

AppPortNumber = Annotated[int, Field(strict=True, ge=0, le=65535)]
CommandArgument = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class ServicePort(Spec):
    """A port of a service."""

    name: Name = Field("http", description="Its name; the app gets its number as PORT_<NAME>.")
    port: AppPortNumber = Field(0, description="Where the app listens on loopback; 0: a free port is found.")
    number: AppPortNumber = Field(0, description="How callers name it, NAME:NUMBER; 0: by `port`.")
    protocol: Protocol = Field("http", description="http, grpc or tcp.")


class ServiceEntry(Spec):
    """One service, or some replicas of it: entries of one name are replicas with other labels."""

    name: Name = Field(description="The name callers use: http://NAME/.")
    command: tuple[CommandArgument, ...] = Field(
        min_length=1, max_length=256, description="Program and arguments."
    )
    ports: tuple[ServicePort, ...] = Field(
        (ServicePort(),), min_length=1, max_length=16, description="The first http port is also port 80."
    )
    replicas: int = Field(1, strict=True, ge=0, le=MAX_REPLICAS, description="How many processes.")
    labels: Labels = Field((), max_length=32, description="Labels that a Subset can choose by.")
    upstreams: tuple[UpstreamName, ...] = Field(
        (),
        max_length=64,
        description="TCP services it calls: db is found at DB_ADDRESS, db:replica at DB_REPLICA_ADDRESS.",
    )
    env: dict[str, str] = Field(default_factory=dict, description="Environment of the process.")
    health: str | None = Field(
        None,
        pattern=r"^/\S*$",
        description="Path that answers 2xx when ready; left out: a connection is enough.",
    )

    metrics: str | None = Field(
        None, pattern=r"^/\S*$", description="Path of its metrics for Prometheus, on its first http port."
    )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [port.name for port in self.ports]
        if len(set(names)) < len(names):
            raise ValueError("two ports of one name: give each its own")
        return self


class GatewayEntry(Spec):
    """A gateway: an Envoy that takes requests from outside."""

    name: Name = Field(description="The gateway's name, as parentRefs of routes use it.")
    port: PortNumber = Field(8080, description="Where its http listener binds.")


class ApplicationSpec(Spec):
    """Services, gateways and the policies of the first start."""

    policies: tuple[str, ...] = Field(
        (), max_length=64, description="Files or folders, relative to this file, applied on first start."
    )
    gateways: tuple[GatewayEntry, ...] = Field((), max_length=16, description="Where requests come in.")
    services: tuple[ServiceEntry, ...] = Field((), max_length=500, description="What runs.")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [gateway.name for gateway in self.gateways]
        if len(set(names)) < len(names):
            raise ValueError("two gateways of one name: give each its own")
        return self


class Application(Policy):
    """What `mesh up` runs: services with their commands, gateways, and first policies."""

    combine: ClassVar[Combine] = "resource"

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["Application"] = Field(description="Always Application.")
    spec: ApplicationSpec = Field(description="What runs.")


@dataclass(frozen=True, slots=True)
class InstanceSpec:
    """One process to run: its name and the entry it comes from."""

    name: str
    entry: ServiceEntry


def read_application(path: Path) -> Application:
    """The application in a file; raises InputError with a line for each problem."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}:1:1: cannot be read: {error.strerror}: name a file with -f") from None
    loaded = load(content, str(path), {"Application": Application})
    if loaded.problems:
        raise InputError("\n".join(str(problem) for problem in loaded.problems))
    if len(loaded.documents) != 1:
        second = loaded.documents[1]
        raise InputError(f"{path}:{second.line}:1: a second document: an application file has one")
    found = loaded.documents[0].policy
    assert isinstance(found, Application)  # noqa: S101  the only kind it was asked for
    return found


def with_gateway_ports(application: Application, ports: Mapping[str, int]) -> Application:
    """The application with other ports for its gateways; raises InputError for a name that is no gateway."""
    spec = application.spec
    known = [gateway.name for gateway in spec.gateways]
    for name in sorted(ports.keys() - set(known)):
        raise InputError(f"{name}: no such gateway: the application has {', '.join(known) or 'none'}")
    moved = tuple(one.model_copy(update={"port": ports.get(one.name, one.port)}) for one in spec.gateways)
    return application.model_copy(update={"spec": spec.model_copy(update={"gateways": moved})})


def instances(
    spec: ApplicationSpec, only: Iterable[str] = (), scale: Mapping[str, int] | None = None
) -> tuple[InstanceSpec, ...]:
    """The processes to run, named NAME-1, NAME-2 and so on.

    `only` names the services to run (none: all). `scale` sets how many of a service there are in all; several
    entries of one name take turns. Raises InputError for a name that is no service.
    """
    scale = scale or {}
    entries: dict[str, list[ServiceEntry]] = defaultdict(list)
    for entry in spec.services:
        entries[entry.name].append(entry)
    wanted = set(only)
    for name in sorted({*wanted, *scale} - entries.keys()):
        raise InputError(f"{name}: no such service: the application has {', '.join(sorted(entries))}")
    found: list[InstanceSpec] = []
    for name, those in entries.items():
        if wanted and name not in wanted:
            continue
        copies = [entry for entry in those for _ in range(entry.replicas)]
        if name in scale:
            copies = [those[index % len(those)] for index in range(scale[name])]
        found += [InstanceSpec(f"{name}-{number}", entry) for number, entry in enumerate(copies, 1)]
    return tuple(found)


def workloads(
    spec: ApplicationSpec,
    chosen: Iterable[InstanceSpec],
    folder: Path,
    tokens: Path,
    environment: Mapping[str, str],
) -> tuple[Workload, ...]:
    """The agent's workloads: gateways first, then each instance.

    Commands run in `folder`; `environment` is what all of them get beside their own `env`; join tokens are
    the files of their names in `tokens`.
    """
    gateways = [
        Workload(
            name=gateway.name,
            role="gateway",
            service=gateway.name,
            token_file=tokens / gateway.name,
            gateway_ports={"http": gateway.port},
        )
        for gateway in spec.gateways
    ]
    numbers = _tcp_port_numbers(spec)
    return (*gateways, *(_workload(one, folder, tokens, environment, numbers) for one in chosen))


def _tcp_port_numbers(spec: ApplicationSpec) -> Mapping[str, int]:
    """The number of each tcp port that the file declares, by `db` (the first one) and `db:name`."""
    found: dict[str, int] = {}
    for entry in spec.services:
        for port in entry.ports:
            if port.protocol == "tcp":
                number = port.number or port.port
                found.setdefault(entry.name, number)
                found.setdefault(f"{entry.name}:{port.name}", number)
    return found


def _workload(
    one: InstanceSpec, folder: Path, tokens: Path, environment: Mapping[str, str], numbers: Mapping[str, int]
) -> Workload:
    entry = one.entry
    ports = tuple(
        AppPort(name=port.name, protocol=port.protocol, number=port.number or port.port, app_port=port.port)
        for port in entry.ports
    )
    return Workload(
        name=one.name,
        service=entry.name,
        token_file=tokens / entry.name,
        ports=ports,
        labels=dict(entry.labels),
        command=entry.command,
        cwd=folder,
        env={**environment, **entry.env},
        upstreams={name: numbers.get(name, 0) for name in entry.upstreams},
        health=entry.health,
        metrics=entry.metrics,
    )
