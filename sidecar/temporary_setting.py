"""A change to a proxy that is undone automatically after a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from meshwright.sidecar.clock import Clock
from meshwright.sidecar.envoy_admin import EnvoyAdminError
from meshwright.sidecar.tasks import SpawnTask

RESTORE_RETRY_INTERVAL = 5.0
"""Seconds until the next attempt when the proxy does not respond."""


class TemporarySetting:
    """Calls `restore` when the time is up, again and again while the proxy does not respond."""

    def __init__(self, spawn: SpawnTask, restore: Callable[[], Awaitable[None]], clock: Clock) -> None:
        self._spawn = spawn
        self._restore = restore
        self._clock = clock
        self._restore_at = 0.0
        self._task: asyncio.Task[None] | None = None

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the setting is restored; None when it is not changed."""
        return None if self._task is None else max(0.0, round(self._restore_at - self._clock.now(), 1))

    def restore_after(self, seconds: float) -> None:
        """Restore the setting in `seconds` from now; replaces an earlier deadline."""
        self._restore_at = self._clock.now() + seconds
        if self._task is not None:
            self._task.cancel()
        self._task = self._spawn(self._restore_when_due())

    def extend(self, seconds: float) -> None:
        """Restore the setting in `seconds` from now, unless its deadline is later."""
        if self._task is None or self._clock.now() + seconds > self._restore_at:
            self.restore_after(seconds)

    def clear(self) -> None:
        """The setting has its original value: nothing to restore."""
        if self._task is not None:
            self._task.cancel()
        self._task = None

    async def _restore_when_due(self) -> None:
        await self._clock.sleep(self._restore_at - self._clock.now())
        while True:
            try:
                await self._restore()
                break
            except EnvoyAdminError:
                await self._clock.sleep(RESTORE_RETRY_INTERVAL)
        self._task = None
