"""What shows that an instance works although its agent renews no lease.

Its own Envoy does, by metrics or its xDS stream. While a control plane is away, the others have neither of
the sidecars that reach only that one, and their agents are silent because nobody listens to them. Then a
sidecar that accepts connections shows it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection
from typing import Protocol

from meshwright.control_plane.core.world import Instance, World
from meshwright.control_plane.errors import StoreError
from meshwright.control_plane.store.leases import InstanceKey

RETURN_TIME = 6.0
"""Seconds after the return of a control plane in which its agents find it again and renew."""

TRIAL_TIMEOUT = 1.0
"""Seconds within which a sidecar accepts a connection. A sweep of leases must not wait longer."""

MAX_TRIALS = 200
"""Connections at once. Instances for which there is no time now are tried by the next sweep."""


class AbsenceStore(Protocol):
    """What the store knows of control planes that are away."""

    async def is_any_absent(self) -> bool:
        """Whether one ran within the last minutes and does not run now. Raises StoreError."""


class LeaseEvidence:
    """`at_work`: those of some instances whose Envoys this mesh hears of."""

    def __init__(
        self,
        at_work: Callable[[Collection[InstanceKey]], list[InstanceKey]],
        store: AbsenceStore,
        world: Callable[[], World],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._at_work = at_work
        self._store = store
        self._world = world
        self._clock = clock
        self._until = 0.0

    async def which_work(self, instances: Collection[InstanceKey]) -> list[InstanceKey]:
        """Those of some instances that work, apart from their agents.

        An intercept is over with its agent: whoever takes requests of others is there to end it.
        """
        world = self._world()
        working = [key for key in self._at_work(instances) if not _intercepts(world, key)]
        others = set(instances).difference(working)
        return working + await self._reachable(others)

    async def _reachable(self, instances: Collection[InstanceKey]) -> list[InstanceKey]:
        """Those whose sidecars accept connections, if a control plane is away or has just returned."""
        if not instances or not await self._is_one_away():
            return []
        world, free = self._world(), asyncio.Semaphore(MAX_TRIALS)
        trials = {
            key: asyncio.create_task(_accepts(address, free))
            for key in instances
            if (address := _address(world, key)) is not None
        }
        if trials:
            await asyncio.wait(trials.values(), timeout=2 * TRIAL_TIMEOUT)
        for trial in trials.values():
            trial.cancel()
        return [key for key, trial in trials.items() if not trial.done() or trial.result()]

    async def _is_one_away(self) -> bool:
        with contextlib.suppress(StoreError):
            if await self._store.is_any_absent():
                self._until = self._clock() + RETURN_TIME
        return self._clock() < self._until


def _intercepts(world: World, key: InstanceKey) -> bool:
    instance = _instance(world, key)
    return instance is not None and instance.intercept is not None


def _address(world: World, key: InstanceKey) -> tuple[str, int] | None:
    instance = _instance(world, key)
    return (instance.address, instance.port) if instance else None


def _instance(world: World, key: InstanceKey) -> Instance | None:
    return next((item for item in world.instances_of(key.service) if item.name == key.instance), None)


async def _accepts(address: tuple[str, int], free: asyncio.Semaphore) -> bool:
    async with free:
        try:
            async with asyncio.timeout(TRIAL_TIMEOUT):
                _, writer = await asyncio.open_connection(*address)
        except (OSError, TimeoutError):
            return False
        writer.transport.abort()
        return True
