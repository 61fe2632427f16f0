"""The last quarter of an hour of one edge, a point each two seconds, in memory that never grows. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from control_plane.telemetry.counts import Counts

STEP = 2.0
"""Seconds of one point: as often as sidecars tell."""

HISTORY = 900.0
"""Seconds that are kept."""

LIVE = 5
"""Points that may still change: what a sidecar tells now began some seconds ago."""

_LENGTH = int(HISTORY / STEP)

NAMES = ("answered", "failed", "retries", "connections", "p50", "p95", "p99")
"""The columns; the quantiles in ms."""


class Series:
    """A ring of points. `now` is any clock that only goes forward, in seconds, and is above 0."""

    __slots__ = ("_columns", "_first", "_last", "_live")

    def __init__(self) -> None:
        self._columns = {name: array("d", bytes(8 * _LENGTH)) for name in NAMES}
        self._live: dict[int, Counts] = {}
        self._first = self._last = -1

    def add(self, counts: Counts, now: float, seconds: float) -> None:
        """Spread what happened within the `seconds` before `now` evenly over the points of that time."""
        seconds = min(max(seconds, 1e-3), (LIVE - 1) * STEP)
        begin = max(now - seconds, 0.0)
        self._advance(int(now / STEP))
        for step in range(int(begin / STEP), int(now / STEP) + 1):
            share = (min(now, (step + 1) * STEP) - max(begin, step * STEP)) / (now - begin)
            if share > 0:
                self._live.setdefault(step, Counts()).add(counts, share)

    def points(self, now: float) -> Iterator[tuple[float, dict[str, float]]]:
        """Every point that is known, oldest first: when it began, and its columns as sums over STEP."""
        last = int(now / STEP)
        for step in range(max(self._first, last - _LENGTH + 1, 0), last + 1):
            if step in self._live:
                yield step * STEP, _row(self._live[step])
            elif self._last - _LENGTH < step <= self._last:
                yield step * STEP, {name: each[step % _LENGTH] for name, each in self._columns.items()}
            else:
                yield step * STEP, dict.fromkeys(NAMES, 0.0)

    def _advance(self, last: int) -> None:
        """Settle the points that are over and empty the places of those to come."""
        if self._first < 0:
            self._first = max(last - LIVE, 0)
            self._last = self._first
        for step in range(max(self._last + 1, last - _LENGTH + 1), last + 1):
            for column in self._columns.values():
                column[step % _LENGTH] = 0.0
        self._last = max(self._last, last)
        for step in [one for one in self._live if one <= last - LIVE]:
            row = _row(self._live.pop(step))
            if step > self._last - _LENGTH:
                for name, value in row.items():
                    self._columns[name][step % _LENGTH] = value


def _row(counts: Counts) -> dict[str, float]:
    return {
        "answered": counts.answered,
        "failed": counts.failed,
        "retries": counts.retries,
        "connections": counts.connections,
        "p50": counts.quantile(0.5),
        "p95": counts.quantile(0.95),
        "p99": counts.quantile(0.99),
    }
