"""Events for what was refused: the first refusal at once, later ones together, once a minute. Pure.

An event above the share of its service waits until there is room, and counts what is refused meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from meshwright.control_plane.api.models.events import MESSAGE_LIMIT, Event
from meshwright.control_plane.store.events import EventEntry
from meshwright.control_plane.telemetry.requests.refusals import OUTSIDE, Refusal

INTERVAL = 60.0
"""Seconds between two events about the same policies, caller and service."""

MAX_WATCHED = 1000
"""Combinations of policies, caller and service that are counted separately within an interval."""

MAX_WAIT = 2 * INTERVAL
"""Seconds that an event waits for room. What waits is watched, and keeps a place that others need."""

_Subject = tuple[str, str, tuple[str, ...], str]
# Caller, service, policies, and what happened to a connection.


@dataclass(slots=True)
class _Watched:
    """`newest` has the number of refusals that are in no event yet; the others in seconds.

    `waits_since`: when there was no room for its event; None if it does not wait.
    """

    newest: Refusal
    reported_at: float = float("-inf")
    waits_since: float | None = None


class RefusalEvents:
    """One event for each caller, service and policies within INTERVAL. `now` in seconds since the epoch."""

    def __init__(self) -> None:
        self._watched: dict[_Subject, _Watched] = {}

    def detect(
        self, refusals: Iterable[Refusal], now: float, has_room: Callable[[EventEntry], bool]
    ) -> Iterator[EventEntry]:
        """The events that are due, with these refusals since the last call.

        `has_room`: whether an event would be written now. It is asked again after each event that is taken.
        """
        for refusal in refusals:
            self._add(refusal)
        for subject, watched in list(self._watched.items()):
            if now - watched.reported_at < INTERVAL:
                continue
            if not watched.newest.count:
                del self._watched[subject]
                continue
            entry = _entry(watched.newest, now)
            if not has_room(entry):
                watched.waits_since = now if watched.waits_since is None else watched.waits_since
                if now - watched.waits_since < MAX_WAIT:
                    continue
            watched.newest = replace(watched.newest, count=0)
            watched.reported_at, watched.waits_since = now, None
            yield entry

    def _add(self, refusal: Refusal) -> None:
        subject = (
            refusal.caller,
            refusal.service,
            refusal.policies,
            _sort(refusal),
        )
        watched = self._watched.get(subject)
        if watched is None:
            if len(self._watched) < MAX_WATCHED:
                self._watched[subject] = _Watched(refusal)
            return
        watched.newest = replace(refusal, count=refusal.count + watched.newest.count)


def _sort(refusal: Refusal) -> str:
    """What tells apart refusals of one caller at one service.

    Connections by their peer's address; not at gateways, where any number of strangers connect.
    """
    if not refusal.reason:
        return refusal.callee
    return refusal.reason if refusal.caller == OUTSIDE else refusal.message


def _entry(refusal: Refusal, now: float) -> EventEntry:
    ends = dict.fromkeys(filter(None, (refusal.caller, refusal.service, refusal.callee)))
    event = Event(
        time=now,
        kind="refusal",
        subject=" → ".join(ends),
        message=_message(refusal)[:MESSAGE_LIMIT],
        severity="warning",
    )
    return EventEntry(event, owner=refusal.service)


def _message(refusal: Refusal) -> str:
    if refusal.reason:
        times = f"{refusal.count} connections" if refusal.count > 1 else "a connection"
        if refusal.count > 1 and refusal.caller == OUTSIDE:
            times += ", the last one"
        return f"refused {times} {refusal.message}"
    times = f"{refusal.count} requests" if refusal.count > 1 else "a request"
    by = " and ".join(refusal.policies) or "a policy that is gone"
    example = f"; mesh why {refusal.request}" if refusal.request else ""
    return f"{by} refused {times}: {refusal.message}{example}"
