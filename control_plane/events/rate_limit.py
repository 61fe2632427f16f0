"""Rate limits for events that clients can cause: a flood of them must not push out all others. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from meshwright.control_plane.events import metrics

SUBJECT_INTERVAL = 60.0
"""Seconds between two events of one kind and subject."""

MAX_PER_KIND = 60
"""Events of one kind within SUBJECT_INTERVAL: the stream of 10,000 events then covers more than an hour."""

_LIMITED_KINDS = frozenset({"svid", "enrolment"})
# What clients can cause as often as they like.


@dataclass(slots=True)
class EventRateLimiter:
    """The events of the last SUBJECT_INTERVAL. `now` in seconds."""

    _allowed_at: dict[tuple[str, str], float] = field(default_factory=dict)
    _recent: dict[str, deque[float]] = field(default_factory=dict)

    def allow(self, kind: str, subject: str, now: float) -> bool:
        """Whether to write an event; those that are suppressed are counted."""
        if kind not in _LIMITED_KINDS:
            return True
        self._allowed_at = {
            key: allowed_at
            for key, allowed_at in self._allowed_at.items()
            if now - allowed_at < SUBJECT_INTERVAL
        }
        recent = self._recent.setdefault(kind, deque(maxlen=MAX_PER_KIND))
        is_full = len(recent) == MAX_PER_KIND and now - recent[0] < SUBJECT_INTERVAL
        if is_full or (kind, subject) in self._allowed_at:
            metrics.SUPPRESSED.inc()
            return False
        self._allowed_at[kind, subject] = now
        recent.append(now)
        return True
