"""Browsers that are signed in: by a random number in a cookie, not the token; it dies with the server.

Pure: numbers and time are given.
"""

from __future__ import annotations

from control_plane.api.guard import same

COOKIE = "mesh_dash"

LIFE = 12 * 3600.0
"""Seconds that a sign-in stands: a working day."""

MOST = 64
"""Sign-ins that are kept; the eldest go first."""


class Sessions:
    """Which cookies count."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def begin(self, number: str, now: float) -> None:
        """Somebody showed the token: `number` counts from now on."""
        self._forget(now)
        while len(self._until) >= MOST:
            del self._until[next(iter(self._until))]
        self._until[number] = now + LIFE

    def known(self, number: str, now: float) -> bool:
        """Whether a cookie counts; every one is looked at, so that the time tells nothing."""
        self._forget(now)
        return sum(same(number, each) for each in self._until) > 0

    def _forget(self, now: float) -> None:
        for each in [number for number, until in self._until.items() if until <= now]:
            del self._until[each]
