"""How often policies refuse, by caller, service and policy: what the dashboard shows. Pure.

The records' counts are folded in once a second. Rates are measured over the window of the topology.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter

from meshwright.control_plane.api.models.refusals import RefusalCount, RefusalOutcome
from meshwright.control_plane.telemetry.requests.refusals import Refusal
from meshwright.control_plane.telemetry.topology.traffic import WINDOW

KEPT_SECONDS = 900.0
"""Seconds without a refusal after which a count is forgotten: as long as the histories of services."""

MAX_COUNTS = 1000
"""Counts that are kept; the one that is idle for longest makes room."""

_OUTCOMES: dict[str, RefusalOutcome] = {
    "429": "limited",
    "ResourceExhausted": "limited",
    "401": "unauthenticated",
    "Unauthenticated": "unauthenticated",
    "403": "denied",
    "PermissionDenied": "denied",
    "": "denied",
}
"""By HTTP status or Envoy's name of a gRPC status; an empty one is that of a TCP connection."""

_Key = tuple[str, str, str, tuple[str, ...], RefusalOutcome]


@dataclass(slots=True)
class _Refused:
    """`recent` has the number of refusals of each time within the window."""

    since: float
    last: float = 0.0
    total: int = 0
    request: str = ""
    recent: deque[tuple[float, int]] = field(default_factory=deque)


class RefusalHistory:
    """The counts of one control plane. Times in epoch seconds."""

    def __init__(self, max_counts: int = MAX_COUNTS) -> None:
        self._max_counts = max_counts
        self._counts: OrderedDict[_Key, _Refused] = OrderedDict()

    def add(self, refusals: Iterable[Refusal], now: float) -> None:
        """Fold in what was refused since the last call, about a second ago."""
        while self._counts and not _is_kept(next(iter(self._counts.values())), now):
            self._counts.popitem(last=False)
        for refusal in refusals:
            key = (refusal.service, refusal.caller, refusal.callee, refusal.policies, outcome(refusal))
            count = self._counts.setdefault(key, _Refused(now))
            self._counts.move_to_end(key)
            count.last, count.request = now, refusal.request
            count.total += refusal.count
            count.recent.append((now, refusal.count))
            _forget(count.recent, now)
            if len(self._counts) > self._max_counts:
                self._counts.popitem(last=False)

    def counts(self, now: float) -> tuple[RefusalCount, ...]:
        """All counts, in the order of their last refusals."""
        return tuple(_to_api(key, count, now) for key, count in self._counts.items() if _is_kept(count, now))


def outcome(refusal: Refusal) -> RefusalOutcome:
    """What became of the requests."""
    return "handshake" if refusal.reason else _OUTCOMES.get(refusal.code, "rejected")


def merged(counts: Iterable[RefusalCount]) -> tuple[RefusalCount, ...]:
    """The counts of several control planes as one list, the most frequent first."""
    by_key: dict[_Key, RefusalCount] = {}
    for count in counts:
        key = (count.service, count.caller, count.callee, count.policies, count.outcome)
        counted = by_key.get(key)
        by_key[key] = _sum(counted, count) if counted else count
    return tuple(sorted(by_key.values(), key=lambda count: (-count.per_s, -count.last, count.service)))


def _sum(count: RefusalCount, other: RefusalCount) -> RefusalCount:
    newest = max(count, other, key=attrgetter("last"))
    return newest.model_copy(
        update={
            "per_s": round(count.per_s + other.per_s, 3),
            "total": count.total + other.total,
            "since": min(count.since, other.since),
        }
    )


def _to_api(key: _Key, count: _Refused, now: float) -> RefusalCount:
    service, caller, callee, policies, result = key
    _forget(count.recent, now)
    return RefusalCount(
        service=service,
        caller=caller,
        callee=callee,
        policies=policies,
        outcome=result,
        per_s=round(sum(number for _, number in count.recent) / WINDOW, 3),
        total=count.total,
        since=count.since,
        last=count.last,
        request=count.request,
    )


def _is_kept(count: _Refused, now: float) -> bool:
    return now - count.last < KEPT_SECONDS


def _forget(recent: deque[tuple[float, int]], now: float) -> None:
    while recent and recent[0][0] <= now - WINDOW:
        recent.popleft()
