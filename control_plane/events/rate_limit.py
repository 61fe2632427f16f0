"""How often the same is told: what many peers cause must not push out the rest. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from meshwright.control_plane.events import metrics

SUBJECT_INTERVAL = 60.0
"""Seconds between two events of one kind and subject."""

MAX_PER_KIND = 60
"""Events of one kind within as many seconds; the stream of 10,000 then holds more than an hour."""

_BURSTS = frozenset({"svid", "enrolment"})
# What peers can cause as often as they like.


@dataclass(slots=True)
class EventRateLimiter:
    """What was told within the last minute. `now` in seconds."""

    _told: dict[tuple[str, str], float] = field(default_factory=dict)
    _times: dict[str, deque[float]] = field(default_factory=dict)

    def allow(self, kind: str, subject: str, now: float) -> bool:
        """Whether to tell of it; what is left out is counted."""
        if kind not in _BURSTS:
            return True
        self._told = {key: at for key, at in self._told.items() if now - at < SUBJECT_INTERVAL}
        times = self._times.setdefault(kind, deque(maxlen=MAX_PER_KIND))
        busy = len(times) == MAX_PER_KIND and now - times[0] < SUBJECT_INTERVAL
        if busy or (kind, subject) in self._told:
            metrics.SUPPRESSED.inc()
            return False
        self._told[kind, subject] = now
        times.append(now)
        return True
