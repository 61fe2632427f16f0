"""The control planes of one mesh: each announces itself, and learns who else is there.

An announcement stands for some seconds unless it is renewed, by the store's clock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from meshwright.control_plane.store import lua

ANNOUNCEMENT_TTL = 6.0
"""Seconds that an announcement stands: three renewals, as with the leases of instances."""

RunScript = Callable[..., Awaitable[list[Any]]]
"""Runs a script whose answer begins with format and newest revision, and checks these (Store)."""


class ControlPlaneRegistry:
    """Who announced itself. Both methods raise StoreError when the store is away."""

    def __init__(self, ask: RunScript) -> None:
        self._run = ask

    async def announce(self, id: str, text: str) -> Mapping[str, str]:
        """Keep `text` for one life more, and give what all others announced, by their id."""
        _, _, found = await self._run(lua.ANNOUNCE, id, text, round(ANNOUNCEMENT_TTL * 1000))
        return {other: told for other, told in zip(found[::2], found[1::2], strict=True) if other != id}

    async def withdraw(self, id: str) -> None:
        """Take the announcement back: this control plane stops."""
        await self._run(lua.WITHDRAW, id)
