"""Leases: a registration is valid until its deadline, by the store's clock alone.

When the store or this control plane was unavailable, no lease expires for one full TTL: no instance is taken
out of service because its renewals could not be stored. Unavailable means: a start, a failed call, or a gap
between sweeps that is longer than renewals tolerate (a suspended machine, a clock that was set).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from meshwright.control_plane.api.models.instances import Port, Registration
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core.world import Departure
from meshwright.control_plane.errors import InputError, NotFoundError, PermissionDeniedError, StoreError
from meshwright.control_plane.store import lease_scripts, lua
from meshwright.control_plane.store.connection import Connection
from meshwright.control_plane.store.revisions import UNREADABLE

LEASE_TTL = 6.0
"""Seconds; renewed every third of it (design)."""
MAX_SWEEP_GAP = 2.0
"""Seconds between two consecutive sweeps, for leases of 6 s or less."""
DRAIN_ATTEMPTS = 5
MAX_QUOTED = 60
"""Characters of a damaged value that a problem quotes."""

NO_SERVICES: Mapping[str, tuple[Port, ...]] = {}
IDLE_TTL = 3600.0
"""Seconds after which a service is forgotten whose last instance left cleanly."""


class InstanceKey(NamedTuple):
    """Names an instance: services and gateways have name spaces of their own.

    `service` is that of Registration.owner: `orders`, or `gateway/egress`.
    """

    service: str
    instance: str

    def __str__(self) -> str:
        """The key in the store; the instance's name contains no slash."""
        return f"{self.service}/{self.instance}"

    def identity(self, trust_domain: str) -> Identity:
        """That of the instance's proxy."""
        role, _, name = self.service.rpartition("/")
        return Identity(trust_domain, "gateway" if role else "service", name)


def serialize(registration: Registration) -> str:
    """The canonical JSON of a registration: labels sorted, fields in the model's order."""
    ordered = registration.model_copy(update={"labels": tuple(sorted(registration.labels))})
    return ordered.model_dump_json()


def serialize_ports(ports: Iterable[Port]) -> str:
    """A service's ports as they are stored."""
    return json.dumps([port.model_dump() for port in ports])


def _note(problems: list[str] | None, problem: str) -> None:
    if problems is not None:
        problems.append(problem)


@lru_cache(maxsize=65536)
def _parse_registration(text: str) -> Registration:
    """Cached: most registrations are unchanged from one read to the next."""
    return Registration.model_validate_json(text)


def parse_registrations(texts: Iterable[str], problems: list[str] | None = None) -> tuple[Registration, ...]:
    """Stored registrations, sorted by service and instance.

    One that cannot be read is left out and described in `problems`; its agent writes it again.
    """
    registrations = []
    for text in texts:
        try:
            registrations.append(_parse_registration(text))
        except UNREADABLE:
            _note(problems, f"a registration cannot be read: {text[:MAX_QUOTED]!r}")
    return tuple(
        sorted(registrations, key=lambda registration: (registration.service, registration.instance))
    )


def parse_services(
    stored: Mapping[str, str],
    registrations: Iterable[Registration],
    last: Mapping[str, tuple[Port, ...]] = NO_SERVICES,
    problems: list[str] | None = None,
) -> dict[str, tuple[Port, ...]]:
    """The ports of every service that has ever registered, sorted by service.

    A service with instances has all ports of its instances (two versions may differ). If two instances
    define a port of one name differently, the instance first by name wins. A service without instances has
    the ports of its last registration. If these cannot be read, it keeps those of `last`, or is left out, and
    `problems` describes it.
    """
    live: dict[str, dict[str, Port]] = {}
    for registration in registrations:
        if registration.role == "gateway":
            continue
        ports = live.setdefault(registration.service, {})
        for port in registration.ports:
            ports.setdefault(port.name, port)
    services = {}
    for name, text in stored.items():
        try:
            services[name] = tuple(Port(**port) for port in json.loads(text))
        except UNREADABLE:
            if name not in live:
                _note(problems, f"the ports of service {name[:MAX_QUOTED]!r} cannot be read")
            if name in last:
                services[name] = last[name]
    services.update({name: tuple(ports.values()) for name, ports in live.items()})
    return dict(sorted(services.items()))


def parse_departures(
    idle: Iterable[str], lost: Mapping[str, str], problems: list[str] | None = None
) -> dict[str, Departure]:
    """When and why an instance last left each service. `idle` alternates between names and times in ms.

    One that cannot be read is left out and described in `problems`.
    """
    texts = iter(idle)
    departures = {name: Departure(float(time) / 1000) for name, time in zip(texts, texts, strict=True)}
    for name, text in lost.items():
        try:
            record = json.loads(text)
            departures[name] = Departure(
                float(record["time"]) / 1000, str(record["instance"]), str(record["failure"])
            )
        except UNREADABLE:
            _note(problems, f"the departure from service {name[:MAX_QUOTED]!r} cannot be read")
    return departures


@dataclass(frozen=True, slots=True)
class _GracePeriod:
    """No lease expires before `until`; `last_sweep` is the time of the last sweep. Both in the store's ms."""

    until: int
    last_sweep: int


class Leases:
    """Registrations and their deadlines. `ttl` and `idle_ttl` are in seconds."""

    def __init__(self, connection: Connection, ttl: float = LEASE_TTL, idle_ttl: float = IDLE_TTL) -> None:
        """Does not connect yet."""
        self._connection = connection
        self._grace: _GracePeriod | None = None
        self.ttl = ttl
        self._idle_ttl = idle_ttl
        connection.on_lost.append(self._clear_grace)

    async def register(self, registration: Registration) -> bool:
        """Store `registration` for one more TTL; True when it differs from the stored one.

        Raises PermissionDeniedError when the service has too many instances, StoreError.
        """
        reply = await self._connection.run_script(
            lease_scripts.REGISTER,
            str(InstanceKey(registration.owner, registration.instance)),
            registration.owner,
            serialize(registration),
            serialize_ports(registration.ports) if registration.role == "service" else "",
            round(self.ttl * 1000),
        )
        if reply == "full":
            raise PermissionDeniedError(
                f"service {registration.service} already has {lease_scripts.INSTANCES_LIMIT} instances: "
                "stop some first"
            )
        return bool(reply)

    async def deregister(self, instance: str, service: str, failure: str = "") -> bool:
        """Remove an instance of `service`; False when it was not registered. Raises StoreError.

        `failure` says why it did not end as planned; empty: it left cleanly.
        """
        key = str(InstanceKey(service, instance))
        return bool(await self._connection.run_script(lease_scripts.DEREGISTER, key, failure))

    async def forget(self, service: str) -> None:
        """Remove a service that has no instances.

        Raises NotFoundError when there is none, InputError when it has instances, StoreError.
        """
        reply = await self._connection.run_script(lease_scripts.FORGET, service)
        if reply == "live":
            raise InputError(f"service {service} has instances: stop them first")
        if not reply:
            raise NotFoundError(f"service {service}: not found, see `mesh status --all`")

    async def set_draining(self, instance: str, service: str) -> bool:
        """Mark an instance as draining; False when it already was. Its deadline does not move.

        A later registration with another health removes the mark: an instance that drains must renew as
        draining. Raises NotFoundError when `service` has no such instance, StoreError.
        """
        key = str(InstanceKey(service, instance))
        for _ in range(DRAIN_ATTEMPTS):
            text = await self._connection.execute("HGET", lua.REGISTRATIONS, key)
            if text is None:
                raise NotFoundError(f"instance {instance} of {service}: not registered")
            try:
                registration = Registration.model_validate_json(text)
            except UNREADABLE:
                raise StoreError(f"instance {instance}: its registration cannot be read") from None
            if registration.health == "draining":
                return False
            draining = serialize(registration.model_copy(update={"health": "draining"}))
            if await self._connection.run_script(lease_scripts.REPLACE, key, text, draining):
                return True
        raise StoreError(f"instance {instance}: its registration changes too fast to be drained; try again")

    async def sweep(self, expired_by: int | None = None) -> tuple[InstanceKey, ...]:
        """Remove the instances whose leases expired and return them. Call it every 250 to 500 ms.

        `expired_by`: only those that had expired then, in ms of the store's clock. Removes nothing within
        one TTL of a start, a failed call or a gap. Raises StoreError.
        """
        grace = self._grace
        if grace is None:
            await self.start_grace_period()
            return ()
        gap = max(self.ttl / 3, MAX_SWEEP_GAP)
        now, paused, expired = await self._connection.run_script(
            lease_scripts.SWEEP,
            grace.until,
            grace.last_sweep,
            round(gap * 1000),
            round(self._idle_ttl * 1000),
            "" if expired_by is None else expired_by,
        )
        if paused:
            self._grace = self._grace_from(now)
        elif self._grace is grace:
            self._grace = _GracePeriod(grace.until, now)
        return tuple(InstanceKey(*key.rsplit("/", 1)) for key in expired if "/" in key)

    async def start_grace_period(self) -> None:
        """From now on no lease expires for one TTL. Raises StoreError."""
        seconds, micros = await self._connection.execute("TIME")
        self._grace = self._grace_from(int(seconds) * 1000 + int(micros) // 1000)

    async def instances(self) -> tuple[Registration, ...]:
        """All registrations, sorted by service and instance. Raises StoreError."""
        return parse_registrations(await self._connection.execute("HVALS", lua.REGISTRATIONS))

    def _grace_from(self, now: int) -> _GracePeriod:
        return _GracePeriod(now + round(self.ttl * 1000), now)

    def _clear_grace(self) -> None:
        self._grace = None
