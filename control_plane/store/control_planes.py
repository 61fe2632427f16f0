"""The control planes of one mesh: each announces itself and learns about the others.

An announcement expires by the store's clock unless it is renewed.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshwright.control_plane.store import lua
from meshwright.control_plane.store.lua import RunScript

ANNOUNCEMENT_TTL = 6.0
"""Seconds until an announcement expires: three renewals, as with the leases of instances."""

ABSENT_AFTER = 3.0
"""Seconds without a trace, of which a control plane leaves one every two: shorter than what a lease has left
when the agent's last renewal was answered."""

ABSENCE_LIMIT = 600
"""Seconds after which one that is away counts as gone: longer than the restart of a machine."""

TRACE_RETENTION = 7 * 86400
"""Seconds for which it is remembered when a control plane that is gone last ran."""


class ControlPlaneRegistry:
    """The announced control planes. All methods raise StoreError when the store is unavailable."""

    def __init__(self, run: RunScript) -> None:
        self._run = run

    async def announce(self, id: str, text: str) -> Mapping[str, str]:
        """Announce `text` for one more TTL; returns the announcements of all others by id."""
        _, _, entries = await self._run(lua.ANNOUNCE, id, text, round(ANNOUNCEMENT_TTL * 1000))
        announced = zip(entries[::2], entries[1::2], strict=True)
        return {other: announcement for other, announcement in announced if other != id}

    async def record_presence(self, address: str) -> tuple[float, float]:
        """Record that the control plane at `address` runs.

        Returns the time of the record before (0: none), and now, in epoch seconds by the store's clock.
        """
        _, _, before, now = await self._run(lua.RECORD_PRESENCE, address, TRACE_RETENTION * 1000)
        return before / 1000, now / 1000

    async def is_any_absent(self) -> bool:
        """Whether one ran within the last ABSENCE_LIMIT and does not run now."""
        _, _, count = await self._run(lua.COUNT_ABSENT, ABSENCE_LIMIT * 1000, round(ABSENT_AFTER * 1000))
        return bool(count)

    async def withdraw(self, id: str) -> None:
        """Withdraw the announcement: this control plane stops."""
        await self._run(lua.WITHDRAW, id)
