"""The services of the mesh as this agent's clients look them up, and when each of them last changed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping

import structlog

from meshwright.control_plane.api.errors import ApiError, UnreachableError
from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.sidecar.consul.answers import has_tags, status_of
from meshwright.sidecar.consul.model import CALLER_LABEL

POLL_INTERVAL = 1.0
"""Seconds between two looks at the mesh's instances: one small request per host, however many watch."""

log = structlog.get_logger(__name__)

FetchInstances = Callable[[], Awaitable[Iterable[InstanceStatus]]]
"""Returns every instance of the mesh. Raises UnreachableError, ApiError."""


class Catalog:
    """Keeps the instances by service. What was last known is kept while the control plane is away.

    An index grows with each change; it starts at the time of day, so that it also grows over a restart.
    """

    def __init__(self, fetch: FetchInstances) -> None:
        self._fetch = fetch
        self._services: Mapping[str, tuple[InstanceStatus, ...]] = {}
        self._first_index = self.index = int(time.time())
        self._indexes: dict[str, int] = {}
        self._changed = asyncio.Condition()
        self._look = asyncio.Event()
        self._looks = 0
        self._looked = asyncio.Condition()
        self._last_look = 0
        self._touched = False
        self.is_current = False
        """Whether the control plane answered when it was last asked."""
        self.is_known = False
        """Whether it ever did."""

    @property
    def services(self) -> Mapping[str, tuple[InstanceStatus, ...]]:
        """The instances of each service, by name."""
        return self._services

    def leads_to(self, service: str, tag: str) -> bool:
        """Whether calls of a service reach healthy instances with a tag (empty: any), and no others.

        The sidecar chooses among all healthy instances, so a tag that only some have leads nowhere.
        """
        instances = self._services.get(service, ())
        healthy = [instance for instance in instances if status_of(instance) == "passing"]
        return bool(healthy) and all(has_tags(instance, (tag,) if tag else ()) for instance in healthy)

    def refresh(self) -> None:
        """Look again now: something changed here."""
        self._look.set()

    async def look(self) -> bool:
        """Look at the mesh now; whether it answered."""
        present = self._looks
        self._look.set()
        async with self._looked:
            await self._looked.wait_for(lambda: self._last_look > present)
        return self.is_current

    def touch(self) -> None:
        """Wake every blocking query: what look-ups return on this host has changed."""
        self._touched = True
        self._look.set()

    async def run(self) -> None:
        """Follow the mesh until cancelled."""
        while True:
            self._look.clear()
            self._looks += 1
            try:
                instances = await self._fetch()
            except (UnreachableError, ApiError) as error:
                if self.is_current:
                    log.warning(
                        "the control plane does not respond: services stay as they were", reason=str(error)
                    )
                self.is_current = False
            else:
                self.is_current = self.is_known = True
                await self._take(instances)
            async with self._looked:
                self._last_look = self._looks
                self._looked.notify_all()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), POLL_INTERVAL)

    def index_of(self, service: str = "") -> int:
        """The index of a service's last change; without a name, of the last change of any."""
        return self._indexes.get(service, self._first_index) if service else self.index

    async def wait(self, service: str, index: int, limit: float) -> None:
        """Wait up to `limit` seconds until a service (empty: any) has another index than `index`.

        Another, not only a greater one: Consul's clients start again at 0 when an index goes back.
        """
        async with self._changed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait_for(lambda: self.index_of(service) != index), limit)

    async def _take(self, instances: Iterable[InstanceStatus]) -> None:
        services: dict[str, list[InstanceStatus]] = {}
        for instance in sorted(instances, key=lambda item: item.name):
            if CALLER_LABEL in instance.labels:
                continue
            services.setdefault(instance.service, []).append(instance)
        after = {name: tuple(members) for name, members in sorted(services.items())}
        before = self._services
        changed = [
            name
            for name in {*before, *after}
            if self._touched or _shown(before.get(name, ())) != _shown(after.get(name, ()))
        ]
        self._touched = False
        self._services = after
        if changed:
            await self._change(changed)

    async def _change(self, changed: Iterable[str]) -> None:
        async with self._changed:
            self.index += 1
            self._indexes.update(dict.fromkeys(changed, self.index))
            self._changed.notify_all()


def _shown(instances: tuple[InstanceStatus, ...]) -> tuple[object, ...]:
    """What clients see of instances."""
    return tuple((item.name, item.health, item.reason, item.labels) for item in instances)
