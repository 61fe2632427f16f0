"""Browser sessions: a random ID instead of the token. They end with the server.

A tab keeps its ID in sessionStorage, which belongs to one scheme, host and port, and presents it as a
WebSocket subprotocol. A cookie would be sent to every port of the host (RFC 6265, 8.5), so also to the apps
behind an ingress on the same machine. Pure: IDs and time are passed in.
"""

from __future__ import annotations

from meshwright.control_plane.api.auth import tokens_equal

PROTOCOL = "mesh-dash"
"""The subprotocol that the server speaks."""

SESSION_PREFIX = "session."
"""Begins the subprotocol that presents a session's ID."""

SESSION_SECONDS = 12 * 3600.0
"""Seconds after which a session expires: a working day."""

LINK_SECONDS = 600.0
"""Seconds for which the link on standard output signs in a browser."""

WRONG_TOKENS_PER_PEER = 4
"""Wrong tokens of one peer that are answered slowly at the same time."""

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


class OneTimeCode:
    """A code that starts one session, and then none."""

    def __init__(self, code: str, now: float) -> None:
        self._code = code
        self._expires = now + LINK_SECONDS

    def redeem(self, presented: str, now: float) -> bool:
        """Whether this is the code, for the first time."""
        if now >= self._expires or not tokens_equal(presented, self._code):
            return False
        self._code = ""
        return True


class WrongTokenBrake:
    """Delays those who present wrong tokens: a few at a time of each peer. A right token never waits."""

    def __init__(self) -> None:
        self._waiting: dict[str, int] = {}

    def enter(self, peer: str) -> bool:
        """Whether the peer may wait for its response; otherwise it gets one at once, without a verdict."""
        if self._waiting.get(peer, 0) >= WRONG_TOKENS_PER_PEER:
            return False
        self._waiting[peer] = self._waiting.get(peer, 0) + 1
        return True

    def leave(self, peer: str) -> None:
        """The peer has its response."""
        self._waiting[peer] -= 1
        if not self._waiting[peer]:
            del self._waiting[peer]


def presented_session(protocols: str) -> str:
    """The session's ID in a `Sec-WebSocket-Protocol` header; empty if it has none."""
    names = (name.strip() for name in protocols.split(","))
    return next((name.removeprefix(SESSION_PREFIX) for name in names if name.startswith(SESSION_PREFIX)), "")
