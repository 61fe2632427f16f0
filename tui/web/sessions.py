"""Browsers that are signed in: by a random number in a cookie, not the token; it dies with the server.

Pure: numbers and time are given.
"""

from __future__ import annotations

from meshwright.control_plane.api.auth import tokens_equal

COOKIE = "mesh_dash"

SESSION_SECONDS = 12 * 3600.0
"""Seconds that a sign-in stands: a working day."""

MAX_SESSIONS = 64
"""Sign-ins that are kept; the eldest go first."""


class BrowserSessions:
    """Which cookies count."""

    def __init__(self) -> None:
        self._expiry: dict[str, float] = {}

    def start(self, number: str, now: float) -> None:
        """Somebody showed the token: `number` counts from now on."""
        self._drop_expired(now)
        while len(self._expiry) >= MAX_SESSIONS:
            del self._expiry[next(iter(self._expiry))]
        self._expiry[number] = now + SESSION_SECONDS

    def is_valid(self, number: str, now: float) -> bool:
        """Whether a cookie counts; every one is looked at, so that the time tells nothing."""
        self._drop_expired(now)
        return sum(tokens_equal(number, each) for each in self._expiry) > 0

    def _drop_expired(self, now: float) -> None:
        for each in [number for number, until in self._expiry.items() if until <= now]:
            del self._expiry[each]
