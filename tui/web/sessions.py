"""Browser sessions: a random ID in a cookie instead of the token. They end with the server.

Pure: IDs and time are passed in.
"""

from __future__ import annotations

from meshwright.control_plane.api.auth import tokens_equal

COOKIE = "mesh_dash"

SESSION_SECONDS = 12 * 3600.0
"""Seconds after which a session expires: a working day."""

MAX_SESSIONS = 64
"""Sessions that are kept; the oldest are dropped first."""


class BrowserSessions:
    """The valid session IDs with their expiry times."""

    def __init__(self) -> None:
        self._expiry: dict[str, float] = {}

    def start(self, session_id: str, now: float) -> None:
        """Start a session for a browser that presented the token."""
        self._drop_expired(now)
        while len(self._expiry) >= MAX_SESSIONS:
            del self._expiry[next(iter(self._expiry))]
        self._expiry[session_id] = now + SESSION_SECONDS

    def is_valid(self, session_id: str, now: float) -> bool:
        """Whether a session exists. Compares with every ID, so that the duration reveals nothing."""
        self._drop_expired(now)
        return sum(tokens_equal(session_id, valid) for valid in self._expiry) > 0

    def _drop_expired(self, now: float) -> None:
        for expired in [key for key, expiry in self._expiry.items() if expiry <= now]:
            del self._expiry[expired]
