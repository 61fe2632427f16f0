"""Leases: what is registered stands until its deadline, by the store's clock alone.

After the store or this control plane was away nothing ends for one whole lease, so that no instance is taken
out of service because its renewals had nowhere to go. What counts as away: the start, any failed call, and a
pause between sweeps that is longer than renewals can bear (a suspended machine, a clock that was set).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from meshwright.control_plane.api.models.base import Port, Registration
from meshwright.control_plane.errors import NotFoundError, PermissionDeniedError, StoreError
from meshwright.control_plane.store import lua

if TYPE_CHECKING:
    from meshwright.control_plane.store.connection import Connection

LEASE_TTL = 6.0
"""Seconds; renewed every third of it (design)."""
MAX_SWEEP_GAP = 2.0
"""Seconds between two sweeps that still count as one after the other, for leases of 6 s or less."""
DRAIN_ATTEMPTS = 5


def serialize(registration: Registration) -> str:
    """The one JSON text of a registration: labels sorted, fields in the model's order."""
    ordered = registration.model_copy(update={"labels": tuple(sorted(registration.labels))})
    return ordered.model_dump_json()


def serialize_ports(ports: Iterable[Port]) -> str:
    """A service's ports as they are stored."""
    return json.dumps([port.model_dump() for port in ports])


@lru_cache(maxsize=65536)
def _parse_registration(text: str) -> Registration:
    """Kept by its text: most are the same from one read to the next."""
    return Registration.model_validate_json(text)


def parse_registrations(texts: Iterable[str]) -> tuple[Registration, ...]:
    """Stored registrations, sorted by service and instance."""
    found = [_parse_registration(text) for text in texts]
    return tuple(sorted(found, key=lambda one: (one.service, one.instance)))


def parse_services(
    stored: Mapping[str, str], registrations: Iterable[Registration]
) -> dict[str, tuple[Port, ...]]:
    """The ports of every service ever registered, sorted by service.

    A service with instances has all ports that any of them announces (two versions may differ); where two
    differ about a port of one name, the instance first by name is believed. A service without instances has
    the ports that were announced last.
    """
    live: dict[str, dict[str, Port]] = {}
    for registration in registrations:
        ports = live.setdefault(registration.service, {})
        for port in registration.ports:
            ports.setdefault(port.name, port)
    known = {name: tuple(Port(**port) for port in json.loads(text)) for name, text in stored.items()}
    known.update({name: tuple(ports.values()) for name, ports in live.items()})
    return dict(sorted(known.items()))


@dataclass(frozen=True, slots=True)
class _GracePeriod:
    """Nothing ends before `until`; `swept` is the time of the last sweep. Milliseconds, store's clock."""

    until: int
    last_sweep: int


class Leases:
    """Registrations and their deadlines. `ttl` is in seconds."""

    def __init__(self, connection: Connection, ttl: float = LEASE_TTL) -> None:
        """Does not reach for the store yet."""
        self._connection = connection
        self._grace: _GracePeriod | None = None
        self.ttl = ttl
        connection.on_lost.append(self._clear_grace)

    async def register(self, registration: Registration) -> bool:
        """Keep `registration` for one lease more; True when it says something new.

        Raises RefusedError when its instance belongs to another service, StoreError.
        """
        answer = await self._connection.run_script(
            lua.REGISTER,
            registration.instance,
            registration.service,
            serialize(registration),
            serialize_ports(registration.ports),
            round(self.ttl * 1000),
        )
        if answer not in ("", "1"):
            raise PermissionDeniedError(
                f"instance {registration.instance} belongs to service {answer}, "
                f"not {registration.service}: give the instance another name"
            )
        return bool(answer)

    async def deregister(self, instance: str, service: str = "") -> bool:
        """Take an instance out; False when it was not there.

        With `service`, raises RefusedError when the instance belongs to another one. Raises StoreError.
        """
        answer = await self._connection.run_script(lua.DEREGISTER, instance, service)
        if answer not in ("", "1"):
            raise PermissionDeniedError(f"instance {instance} belongs to service {answer}, not {service}")
        return bool(answer)

    async def set_draining(self, instance: str, service: str = "") -> bool:
        """Mark an instance as draining; False when it was so already. Its deadline stays.

        A later registration that says otherwise takes the mark away: who drains must renew as draining.
        Raises NotFoundError for an unknown instance, RefusedError when it is not of `service`, StoreError.
        """
        for _ in range(DRAIN_ATTEMPTS):
            known = await self._connection.execute("HGET", "mesh:registrations", instance)
            if known is None:
                raise NotFoundError(f"instance {instance}: not registered")
            registration = Registration.model_validate_json(known)
            if service and registration.service != service:
                raise PermissionDeniedError(
                    f"instance {instance} belongs to service {registration.service}, not {service}"
                )
            if registration.health == "draining":
                return False
            changed = serialize(registration.model_copy(update={"health": "draining"}))
            if await self._connection.run_script(lua.REPLACE, instance, known, changed):
                return True
        raise StoreError(f"instance {instance}: its registration changes too fast to be drained; try again")

    async def sweep(self) -> tuple[str, ...]:
        """End the leases that are over and name their instances; call it every 250 to 500 ms.

        Nothing ends within one lease of a start, a failed call or a pause. Raises StoreError.
        """
        grace = self._grace
        if grace is None:
            await self.start_grace_period()
            return ()
        pause = max(self.ttl / 3, MAX_SWEEP_GAP)
        now, paused, ended = await self._connection.run_script(
            lua.SWEEP, grace.until, grace.last_sweep, round(pause * 1000)
        )
        if paused:
            self._grace = self._grace_from(now)
        elif self._grace is grace:
            self._grace = _GracePeriod(grace.until, now)
        return tuple(ended)

    async def start_grace_period(self) -> None:
        """Begin a time of grace: from now on nothing ends for one lease. Raises StoreError."""
        seconds, micros = await self._connection.execute("TIME")
        self._grace = self._grace_from(int(seconds) * 1000 + int(micros) // 1000)

    async def instances(self) -> tuple[Registration, ...]:
        """All that is registered, sorted by service and instance. Raises StoreError."""
        return parse_registrations(await self._connection.execute("HVALS", "mesh:registrations"))

    def _grace_from(self, now: int) -> _GracePeriod:
        return _GracePeriod(now + round(self.ttl * 1000), now)

    def _clear_grace(self) -> None:
        self._grace = None
