"""Records a moment every few seconds. Of several control planes one records: all of them know the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from meshwright.control_plane.api.models.moments import Moment
from meshwright.control_plane.config import Settings
from meshwright.control_plane.errors import StoreError
from meshwright.control_plane.moments.codec import encode
from meshwright.control_plane.moments.retention import COARSE_STEP, STEP, Kept, Retention
from meshwright.control_plane.store.moments import MomentStore

WRITER_TTL = 2.5 * STEP
"""Seconds until another control plane records: two moments may be late before that."""

START_INTERVAL = 0.5
"""Seconds between two looks whether the mesh is known by now."""

log = structlog.get_logger(__name__)


class MomentRecorder:
    """One control plane's part in recording; `id` names it.

    `observe` returns the mesh as it is; None while this control plane does not know it yet.
    """

    def __init__(
        self,
        id: str,
        store: MomentStore,
        settings: Settings,
        observe: Callable[[], Awaitable[Moment | None]],
    ) -> None:
        self._id = id
        self._store = store
        self._retention = Retention(settings.history_hours * 3600, round(settings.history_mb * 1e6))
        self._observe = observe
        self._thinned_at = 0

    async def run(self) -> None:
        """Record until cancelled. A moment that the store does not take is lost."""
        while self._retention.seconds:
            try:
                if await self._store.claim(self._id, WRITER_TTL):
                    moment = await self._observe()
                    if moment is None:
                        await asyncio.sleep(START_INTERVAL)
                        continue
                    await self._record(moment)
            except StoreError as error:
                log.debug("no moment is recorded", reason=str(error))
            await asyncio.sleep(STEP - time.time() % STEP)

    async def _record(self, moment: Moment) -> None:
        slot = int(moment.time // STEP * STEP)
        await self._store.save(slot, await asyncio.to_thread(encode, moment))
        if slot - self._thinned_at >= COARSE_STEP:
            sizes = await self._store.sizes()
            entries = [Kept(time, size) for time, size in sizes.items()]
            await self._store.remove(entry.time for entry in self._retention.surplus(entries, moment.time))
            self._thinned_at = slot
