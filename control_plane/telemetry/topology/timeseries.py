"""The last quarter of an hour of some calls as points in time, in memory that never grows. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from meshwright.control_plane.telemetry.topology.counters import UpstreamCounters

STEP = 2.0
"""Seconds of one point: as often as sidecars tell."""

HISTORY_SECONDS = 900.0
"""Seconds that are kept."""

MAX_FLUSH_SECONDS = 8.0
"""Seconds before a flush that it may tell about; what a sidecar tells now began some seconds ago."""

COLUMNS = ("answered", "failed", "retries", "connections", "wanted", "refused", "p50", "p95", "p99")
"""The columns; TCP connections that were `wanted`, of these `refused` ones; the quantiles are in ms."""


class TimeSeries:
    """A ring of points. `now` is any clock that only goes forward, in seconds, and is above 0.

    Values are kept in single precision: exact up to 16 million a point.
    """

    __slots__ = ("_columns", "_first", "_last", "_length", "_live", "_live_points", "step")

    def __init__(self, step: float = STEP) -> None:
        self.step = step
        self._length = int(HISTORY_SECONDS / step)
        self._live_points = int(MAX_FLUSH_SECONDS / step) + 1
        self._columns = {name: array("f", bytes(4 * self._length)) for name in COLUMNS}
        self._live: dict[int, UpstreamCounters] = {}
        self._first = self._last = -1

    def add(self, counts: UpstreamCounters, now: float, seconds: float) -> None:
        """Spread what happened within the `seconds` before `now` evenly over the points of that time."""
        seconds = min(max(seconds, 1e-3), MAX_FLUSH_SECONDS)
        begin = max(now - seconds, 0.0)
        self._advance(int(now / self.step))
        for step in range(int(begin / self.step), int(now / self.step) + 1):
            share = (min(now, (step + 1) * self.step) - max(begin, step * self.step)) / (now - begin)
            if share > 0:
                self._live.setdefault(step, UpstreamCounters()).add(counts, share)

    def points(self, now: float) -> Iterator[tuple[float, dict[str, float]]]:
        """Every point that is known, oldest first: when it began, and its columns as sums over its time."""
        end = int(now / self.step) + 1
        begin = self.first_step(end)
        columns = self.columns(begin, end)
        for number in range(end - begin):
            yield (begin + number) * self.step, {name: each[number] for name, each in columns.items()}

    def first_step(self, end: int) -> int:
        """The number of the oldest point that is known, of those before `end`."""
        return min(max(self._first, end - self._length, 0), end) if self._first >= 0 else end

    def columns(self, begin: int, end: int) -> dict[str, list[float]]:
        """The columns of the points `begin` (see `first`) to `end`, without it."""
        at, kept = begin % self._length, max(self._last + 1 - begin, 0)
        nothing = [0.0] * (end - begin)
        found = {}
        for name, column in self._columns.items():
            values = (column[at:] + column[:at])[: min(kept, end - begin)].tolist()
            found[name] = values + nothing[len(values) :]
        for step, counts in self._live.items():
            if begin <= step < end:
                for name, value in _column_values(counts).items():
                    found[name][step - begin] = _combine(name, found[name][step - begin], value)
        return found

    def serialize(self, now: float) -> tuple[float, bytes]:
        """All that is known, for `absorb`: how long ago the first point began, and the columns one by one."""
        end = int(now / self.step) + 1
        begin = self.first_step(end)
        columns = self.columns(begin, end)
        return now - begin * self.step, b"".join(array("f", columns[name]).tobytes() for name in COLUMNS)

    def merge(self, age: float, body: bytes, now: float) -> None:
        """Add what another series of the same step has `written`, `age` by its clock; raises ValueError."""
        values = array("f")
        values.frombytes(body)
        count, rest = divmod(len(values), len(COLUMNS))
        begin = round((now - age) / self.step)
        if rest or count > self._length + 1 or not 0 <= age < 2 * HISTORY_SECONDS:
            raise ValueError("not the columns of a series")
        self._advance(int(now / self.step))
        self._first = max(min(self._first, begin), 0)
        for number, name in enumerate(COLUMNS):
            column = self._columns[name]
            for step, value in enumerate(values[number * count : (number + 1) * count], begin):
                if value and max(self._last - self._length, -1) < step <= self._last:
                    at = step % self._length
                    column[at] = _combine(name, column[at], value)

    def _advance(self, last: int) -> None:
        """Settle the points that are over and empty the places of those to come."""
        if self._first < 0:
            self._first = max(last - self._live_points, 0)
            self._last = self._first
        for step in range(max(self._last + 1, last - self._length + 1), last + 1):
            for column in self._columns.values():
                column[step % self._length] = 0.0
        self._last = max(self._last, last)
        for step in [one for one in self._live if one <= last - self._live_points]:
            row = _column_values(self._live.pop(step))
            if step > self._last - self._length:
                for name, value in row.items():
                    column, at = self._columns[name], step % self._length
                    column[at] = _combine(name, column[at], value)


def _combine(name: str, settled: float, late: float) -> float:
    """A value of a point of which some was told when it was settled; latencies are then the slower ones."""
    return max(settled, late) if name.startswith("p") else settled + late


def _column_values(counts: UpstreamCounters) -> dict[str, float]:
    p50, p95, p99 = counts.latency_percentiles()
    return {
        "answered": counts.completed,
        "failed": counts.failed,
        "retries": counts.retries,
        "connections": counts.connections,
        "wanted": counts.connection_attempts,
        "refused": counts.failed_attempts,
        "p50": p50,
        "p95": p95,
        "p99": p99,
    }
