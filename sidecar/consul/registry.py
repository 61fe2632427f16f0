"""What applications registered at this agent: a sidecar for each service, whose health its checks decide."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp
import psutil
import structlog

from meshwright.control_plane.api.errors import ApiError, UnreachableError
from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.control_plane.api.private_files import read_private
from meshwright.sidecar.config import AppPort, Workload
from meshwright.sidecar.consul.checks import Check
from meshwright.sidecar.consul.model import (
    MAX_CHECKS,
    CheckDefinition,
    CheckStatus,
    ServiceRegistration,
    instance_name,
    worst,
)
from meshwright.sidecar.files import write_private
from meshwright.sidecar.health_probe import HealthProbe
from meshwright.sidecar.health_settings import HealthSettings
from meshwright.sidecar.health_state import CheckResult
from meshwright.sidecar.ports import LOOPBACK

MAX_SERVICES = 64
"""Services of one agent: each has an Envoy, of some 40 MiB."""

SWEEP_INTERVAL = 5.0
"""Seconds between looks for services that are to be deregistered. Consul takes up to 30."""

DRAIN_WAIT = 5.0
"""Seconds for which a deregistration waits until callers have left; it then goes on without the client."""

MAINTENANCE = "_service_maintenance:"
"""Consul's prefix for the ID of the check that takes a service out of rotation."""

HEALTH = HealthSettings(interval=0.5, timeout=1.0, unhealthy_after=1, healthy_after=1, startup=0.0)
"""How often the sidecar looks at the results of checks, in memory; the checks have their own times."""

log = structlog.get_logger(__name__)


class Workloads(Protocol):
    """The agent that runs the sidecars."""

    def start_workload(self, workload: Workload, probe: HealthProbe | None = None) -> str:
        """Run one more, whose health `probe` tells. Raises ValueError."""

    async def stop_workload(self, name: str) -> str:
        """Stop one gracefully. Raises ValueError."""


CreateToken = Callable[[str], Awaitable[Path]]
"""A file with a new join token for a service. Raises UnreachableError, ApiError."""


@dataclass(slots=True)
class Registered:
    """One service and its checks by ID. `instance` is its name in the mesh."""

    definition: ServiceRegistration
    instance: str
    checks: dict[str, Check] = field(default_factory=dict)

    @property
    def status(self) -> CheckStatus:
        """The status of all checks together; `passing` without any."""
        return worst([check.status for check in self.checks.values()])

    async def probe(self) -> CheckResult:
        """The health of the instance for its sidecar. It is critical for its callers alone if a check is."""
        critical = [check for check in self.checks.values() if check.status == "critical"]
        problem = "; ".join(f"{check.id}: {check.output or 'critical'}" for check in critical)
        return CheckResult(problem, listening=not critical)


class Registry:
    """The services of this agent, kept in `file` so that they survive its restart.

    `tcp_services`: names of those whose protocol is TCP although their metadata does not say so.

    Methods raise ValueError for what the client did wrong, KeyError for an unknown ID.
    """

    def __init__(
        self,
        agent: Workloads,
        create_token: CreateToken,
        session: aiohttp.ClientSession,
        file: Path,
        on_change: Callable[[], None],
        *,
        tcp_services: Collection[str] = (),
    ) -> None:
        self._agent = agent
        self._create_token = create_token
        self._session = session
        self._file = file
        self._on_change = on_change
        self._tcp_services = tcp_services
        self._lock = asyncio.Lock()
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._stops: dict[str, asyncio.Task[str]] = {}
        self.services: dict[str, Registered] = {}
        """By ID, the one that was registered first at the beginning."""

    @property
    def ports(self) -> dict[int, str]:
        """The services by the ports that they registered, the first first."""
        ports: dict[int, str] = {}
        for service in self.services.values():
            ports.setdefault(service.definition.port, service.definition.name)
        return ports

    async def restore(self) -> None:
        """Register again what was registered when the last agent stopped."""
        try:
            saved = json.loads(read_private(self._file))
        except FileNotFoundError:
            return
        except ValueError:
            log.warning("cannot read the services of the last run", file=str(self._file))
            return
        for fields in saved:
            try:
                await self.register(ServiceRegistration.model_validate(fields))
            except (ValueError, UnreachableError, ApiError) as error:
                log.warning("cannot register a service again", reason=str(error))

    async def register(self, definition: ServiceRegistration, *, replace_checks: bool = False) -> None:
        """Register a service. If it is known, its sidecar stays unless what the mesh sees has changed.

        Checks that it has and the definition does not name stay, unless they are replaced: as in Consul.
        """
        for check in definition.checks:
            _check_target(check)
        if definition.address and not is_local(definition.address):
            raise ValueError(
                f"Address {definition.address} is not this machine: an application registers at the agent "
                "beside it; a host outside the mesh is an ExternalService"
            )
        _app_address(definition.address)
        checks = _checks_by_id(definition)
        previous = self.services.get(definition.id)
        if previous is not None:
            stay = {
                id: check.definition
                for id, check in previous.checks.items()
                if not replace_checks or id.startswith(MAINTENANCE)
            }
            checks = {**stay, **checks}
        await self._register(definition, checks)

    async def _register(self, definition: ServiceRegistration, checks: dict[str, CheckDefinition]) -> None:
        if len(checks) > MAX_CHECKS:
            raise ValueError(f"a service has at most {MAX_CHECKS} checks")
        definition = definition.with_checks(checks)
        async with self._lock:
            previous = self.services.get(definition.id)
            if previous is None and len(self.services) >= MAX_SERVICES:
                raise ValueError(f"this agent has {MAX_SERVICES} services, which is its limit")
            if previous is not None and _seen_by_mesh(previous.definition) == _seen_by_mesh(definition):
                self._set_checks(previous, checks)
                previous.definition = definition
            else:
                await self._start(definition, checks)
            self._save()

    async def _start(self, definition: ServiceRegistration, checks: dict[str, CheckDefinition]) -> None:
        """Run the sidecar of a service, after that of its last registration has stopped."""
        protocol = definition.protocol or ("tcp" if definition.name in self._tcp_services else "http")
        workload = Workload(
            name=instance_name(definition.name, definition.id),
            service=definition.name,
            token_file=await self._create_token(definition.name),
            ports=(
                AppPort(name=protocol, protocol=protocol, number=definition.port, app_port=definition.port),
            ),
            app_address=_app_address(definition.address),
            labels=definition.labels(),
            health=HEALTH if checks else HealthSettings(),
        )
        if definition.id in self.services:
            self._remove(definition.id)
        if workload.name in self._stops:
            await asyncio.wait({self._stops[workload.name]})
        registered = Registered(definition, workload.name)
        self._agent.start_workload(workload, registered.probe if checks else None)
        self._set_checks(registered, checks)
        self.services[definition.id] = registered

    async def deregister(self, id: str) -> None:
        """Remove a service, and wait a while until its callers have left it."""
        async with self._lock:
            if id not in self.services:
                raise KeyError(
                    f'Unknown service ID "{id}". Ensure that the service ID is passed, not the name.'
                )
            stop = self._remove(id)
            self._save()
        await asyncio.wait({stop}, timeout=DRAIN_WAIT)

    def _remove(self, id: str) -> asyncio.Task[str]:
        registered = self.services.pop(id)
        self._set_checks(registered, {})
        name = registered.instance
        stop = self._stops[name] = asyncio.create_task(self._agent.stop_workload(name))
        stop.add_done_callback(lambda _: self._stops.pop(name, None))
        return stop

    async def register_check(self, definition: CheckDefinition) -> None:
        """Add a check to a service. Its sidecar starts again if it had none: its own check ends."""
        service = self._service_of(definition.service_id)
        id = definition.id or definition.short_id or definition.name
        checks = {**_checks_by_id(service.definition), id: definition.model_copy(update={"id": id})}
        await self.register(service.definition.with_checks(checks))

    async def maintain(self, id: str, reason: str) -> None:
        """Take a service out of rotation by a check that nothing passes."""
        check = CheckDefinition.model_validate(
            {
                "CheckID": f"{MAINTENANCE}{id}",
                "Name": "Service Maintenance Mode",
                "ServiceID": id,
                "Notes": reason or "Maintenance mode is enabled for this service",
                "TTL": "24h",
            }
        )
        await self.register_check(check)
        self.check(check.id).update("critical", check.notes)

    async def end_maintenance(self, id: str) -> None:
        """Let a service have calls again."""
        if f"{MAINTENANCE}{id}" in self._service_of(id).checks:
            await self.deregister_check(f"{MAINTENANCE}{id}")

    async def deregister_check(self, id: str) -> None:
        """Remove a check."""
        service = self._service_of(self.check(id).service_id)
        remaining = {key: check.definition for key, check in service.checks.items() if key != id}
        await self._register(service.definition, remaining)

    def check(self, id: str) -> Check:
        """The check with this ID."""
        for service in self.services.values():
            if id in service.checks:
                return service.checks[id]
        raise KeyError(f'Unknown check ID "{id}"')

    def id_of(self, instance: InstanceStatus) -> str:
        """The ID with which an instance registered here; of any other instance its name in the mesh."""
        ids = (
            id
            for id, service in self.services.items()
            if (service.instance, service.definition.name) == (instance.name, instance.service)
        )
        return next(ids, instance.name)

    def update(self, id: str, status: CheckStatus, output: str = "") -> None:
        """Take the status that an application reports for its TTL check."""
        check = self.check(id)
        if not check.definition.ttl:
            raise ValueError(f"check {id} has no TTL: its status is what it finds")
        check.update(status, output)

    async def run(self) -> None:
        """Deregister services that have been critical for too long, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_INTERVAL)
            for id, service in list(self.services.items()):
                if any(check.is_overdue for check in service.checks.values()):
                    log.warning("service deregistered: it was critical for too long", service=id)
                    await self.deregister(id)

    async def close(self) -> None:
        """End all checks. The sidecars end with the agent; the services stay on record."""
        tasks = [*self._tasks.values(), *self._stops.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _service_of(self, id: str) -> Registered:
        if id not in self.services:
            raise KeyError(f'ServiceID "{id}" does not exist')
        return self.services[id]

    def _set_checks(self, service: Registered, definitions: dict[str, CheckDefinition]) -> None:
        """Run exactly these checks. One that has not changed goes on, with its status."""
        owner = service.definition
        for id, check in list(service.checks.items()):
            if definitions.get(id) != check.definition:
                del service.checks[id]
                self._tasks.pop((owner.id, id)).cancel()
        for id, definition in definitions.items():
            if id not in service.checks:
                check = Check(id, definition, owner.id, owner.name, owner.tags, self._on_change)
                service.checks[id] = check
                self._tasks[owner.id, id] = asyncio.create_task(check.run(self._session))

    def _save(self) -> None:
        saved = [service.definition.model_dump(by_alias=True) for service in self.services.values()]
        write_private(self._file, json.dumps(saved))
        self._on_change()


def is_local(host: str) -> bool:
    """Whether an address or name is this machine's own."""
    try:
        address = ip_address(host)
    except ValueError:
        return host in ("localhost", socket.gethostname())
    addresses = (
        entry.address.partition("%")[0] for entries in psutil.net_if_addrs().values() for entry in entries
    )
    return address.is_loopback or address.is_unspecified or str(address) in addresses


def _app_address(address: str) -> str:
    """Where the sidecar calls an application that registered with this address or name of this host."""
    try:
        ip = ip_address(address)
    except ValueError:
        return LOOPBACK
    if ip.is_link_local:
        raise ValueError(f"Address {address} is of one network interface alone: give another of this host")
    return LOOPBACK if ip.is_unspecified else str(ip)


def _check_target(check: CheckDefinition) -> None:
    """Raise ValueError for a check of another machine: an agent is no means to look around a network."""
    if check.ttl:
        return
    url = check.http or f"//{check.tcp or check.grpc}"
    host = urlsplit(url).hostname or ""
    if not is_local(host):
        raise ValueError(f"a check asks this machine only, not {host[:63] or url[:63]!r}")


def _checks_by_id(definition: ServiceRegistration) -> dict[str, CheckDefinition]:
    """The checks by their IDs; without one Consul takes `service:ID`, with a number if there are several."""
    checks = definition.checks
    by_id: dict[str, CheckDefinition] = {}
    for number, check in enumerate(checks, 1):
        default = f"service:{definition.id}" + (f":{number}" if len(checks) > 1 else "")
        id = check.id or check.short_id or default
        by_id[id] = check.model_copy(update={"id": id})
    return by_id


def _seen_by_mesh(definition: ServiceRegistration) -> tuple[object, ...]:
    """What a sidecar has to start again for."""
    return (
        definition.name,
        definition.port,
        _app_address(definition.address),
        definition.protocol,
        definition.labels(),
        not definition.checks,
    )
