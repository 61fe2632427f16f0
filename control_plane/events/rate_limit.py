"""Rate limits for events that clients can cause: each identity has a share of its own for each kind. Pure.

What exceeds it is folded: once a minute one event says how many were left out.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

from meshwright.control_plane.events import metrics

SUBJECT_INTERVAL = 60.0
"""Seconds between two events of one kind, subject and message."""

MAX_PER_OWNER = 20
"""Events of one kind that one identity, or one address, may cause within SUBJECT_INTERVAL."""

MAX_STRANGERS = 60
"""Refused enrolments within SUBJECT_INTERVAL, of all addresses: nobody proves to be different from others."""

_LIMITED_KINDS = frozenset(
    {"svid", "enrolment", "lease", "instance", "sidecar", "nack", "breaker", "ejection", "refusal"}
)
# What clients can cause as often as they like.

_ONCE_KINDS = frozenset({"svid", "enrolment", "lease"})
# Kinds whose repetition says nothing new.

_Share = tuple[str, str]
# Kind and owner.


@dataclass(slots=True)
class EventRateLimiter:
    """The events of the last SUBJECT_INTERVAL. `now` in seconds.

    `owner` is the identity or address that causes an event; events without one are not limited.
    """

    _allowed_at: dict[tuple[str, str], float] = field(default_factory=dict)
    _recent: dict[_Share, deque[float]] = field(default_factory=dict)
    _folded: Counter[_Share] = field(default_factory=Counter)
    _folded_at: float = 0.0

    def allow(self, kind: str, owner: str, subject: str, now: float) -> bool:
        """Whether to write an event; those that are suppressed are counted."""
        if kind not in _LIMITED_KINDS or not owner:
            return True
        self._expire(now)
        if kind in _ONCE_KINDS and (kind, subject) in self._allowed_at:
            metrics.SUPPRESSED.inc()
            return False
        if not self.has_room(kind, owner, now):
            metrics.SUPPRESSED.inc()
            self._folded[kind, owner if kind != "enrolment" else ""] += 1
            return False
        self._allowed_at[kind, subject] = now
        for share in _limits(kind, owner):
            self._recent.setdefault(share, deque()).append(now)
        return True

    def has_room(self, kind: str, owner: str, now: float) -> bool:
        """Whether the shares that an event counts for have room for one more."""
        if kind not in _LIMITED_KINDS or not owner:
            return True
        self._expire(now)
        return all(len(self._recent.get(share, ())) < most for share, most in _limits(kind, owner).items())

    def folded(self, now: float) -> list[tuple[str, str, int]]:
        """Kind, owner and number of the events left out since the last call that returned any.

        Empty within SUBJECT_INTERVAL of that.
        """
        if not self._folded or now - self._folded_at < SUBJECT_INTERVAL:
            return []
        folded, self._folded, self._folded_at = self._folded, Counter(), now
        return [(kind, owner, count) for (kind, owner), count in folded.items()]

    def _expire(self, now: float) -> None:
        expired = now - SUBJECT_INTERVAL
        while self._allowed_at and (oldest := next(iter(self._allowed_at.items())))[1] <= expired:
            del self._allowed_at[oldest[0]]
        for share, times in list(self._recent.items()):
            while times and times[0] <= expired:
                times.popleft()
            if not times:
                del self._recent[share]


def _limits(kind: str, owner: str) -> dict[_Share, int]:
    """The shares that an event counts for, and how many events each may have."""
    limits = {(kind, owner): MAX_PER_OWNER}
    return limits | {(kind, ""): MAX_STRANGERS} if kind == "enrolment" else limits
