"""The last quarter of an hour of some traffic as points in time, in a fixed amount of memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from meshwright.control_plane.telemetry.topology.counters import UpstreamCounters

STEP = 2.0
"""Seconds of one point: the interval at which sidecars flush."""

HISTORY_SECONDS = 900.0
"""Seconds that are stored."""

MAX_FLUSH_SECONDS = 8.0
"""The longest time that one flush may cover, in seconds."""

COLUMNS = (
    "completed",
    "failed",
    "retries",
    "connections",
    "connection_attempts",
    "failed_attempts",
    "p50",
    "p95",
    "p99",
)
"""The columns of a point: sums over its time, and latency percentiles in ms."""


class TimeSeries:
    """A ring of points. `now` is any monotonic clock in seconds, above 0.

    Points younger than MAX_FLUSH_SECONDS are kept as counters, because late flushes still change them; older
    ones are stored in single precision, which is exact up to 16 million.
    """

    __slots__ = ("_columns", "_first", "_last", "_length", "_live", "_live_points", "step")

    def __init__(self, step: float = STEP) -> None:
        self.step = step
        self._length = int(HISTORY_SECONDS / step)
        self._live_points = int(MAX_FLUSH_SECONDS / step) + 1
        self._columns = {name: array("f", bytes(4 * self._length)) for name in COLUMNS}
        self._live: dict[int, UpstreamCounters] = {}
        self._first = self._last = -1

    def add(self, counters: UpstreamCounters, now: float, seconds: float) -> None:
        """Spread counters of the `seconds` before `now` evenly over the points of that time."""
        seconds = min(max(seconds, 1e-3), MAX_FLUSH_SECONDS)
        begin = max(now - seconds, 0.0)
        self._advance(int(now / self.step))
        for step in range(int(begin / self.step), int(now / self.step) + 1):
            overlap = min(now, (step + 1) * self.step) - max(begin, step * self.step)
            if overlap > 0:
                self._live.setdefault(step, UpstreamCounters()).add(counters, overlap / (now - begin))

    def points(self, now: float) -> Iterator[tuple[float, dict[str, float]]]:
        """All points, oldest first: when each began, and its columns."""
        end = int(now / self.step) + 1
        begin = self.first_step(end)
        columns = self.columns(begin, end)
        for offset in range(end - begin):
            yield (begin + offset) * self.step, {name: values[offset] for name, values in columns.items()}

    def first_step(self, end: int) -> int:
        """The number of the oldest point before `end`; `end` if there is none."""
        return min(max(self._first, end - self._length, 0), end) if self._first >= 0 else end

    def columns(self, begin: int, end: int) -> dict[str, list[float]]:
        """The columns of the points from `begin` (see `first_step`) up to, but without, `end`."""
        offset, stored = begin % self._length, max(self._last + 1 - begin, 0)
        zeros = [0.0] * (end - begin)
        columns = {}
        for name, column in self._columns.items():
            values = (column[offset:] + column[:offset])[: min(stored, end - begin)].tolist()
            columns[name] = values + zeros[len(values) :]
        for step, counters in self._live.items():
            if begin <= step < end:
                for name, value in _column_values(counters).items():
                    columns[name][step - begin] = _combine(name, columns[name][step - begin], value)
        return columns

    def serialize(self, now: float) -> tuple[float, bytes]:
        """All points for `merge`: the age of the first one in seconds, and the columns one after another."""
        end = int(now / self.step) + 1
        begin = self.first_step(end)
        columns = self.columns(begin, end)
        return now - begin * self.step, b"".join(array("f", columns[name]).tobytes() for name in COLUMNS)

    def merge(self, age: float, body: bytes, now: float) -> None:
        """Add a serialized series of the same step; `age` is the age of its first point.

        Raises ValueError for bytes that are not a series.
        """
        values = array("f")
        values.frombytes(body)
        count, remainder = divmod(len(values), len(COLUMNS))
        begin = round((now - age) / self.step)
        if remainder or count > self._length + 1 or not 0 <= age < 2 * HISTORY_SECONDS:
            raise ValueError("not the columns of a series")
        self._advance(int(now / self.step))
        self._first = max(min(self._first, begin), 0)
        for number, name in enumerate(COLUMNS):
            column = self._columns[name]
            for step, value in enumerate(values[number * count : (number + 1) * count], begin):
                if value and max(self._last - self._length, -1) < step <= self._last:
                    offset = step % self._length
                    column[offset] = _combine(name, column[offset], value)

    def _advance(self, last: int) -> None:
        """Clear the points up to `last` and move live counters that are old enough into the columns."""
        if self._first < 0:
            self._first = max(last - self._live_points, 0)
            self._last = self._first
        for step in range(max(self._last + 1, last - self._length + 1), last + 1):
            for column in self._columns.values():
                column[step % self._length] = 0.0
        self._last = max(self._last, last)
        for step in [step for step in self._live if step <= last - self._live_points]:
            values = _column_values(self._live.pop(step))
            if step > self._last - self._length:
                for name, value in values.items():
                    column, offset = self._columns[name], step % self._length
                    column[offset] = _combine(name, column[offset], value)


def _combine(name: str, stored: float, late: float) -> float:
    """A value of a point that was stored before late counters arrived: sums add up, percentiles do not."""
    return max(stored, late) if name.startswith("p") else stored + late


def _column_values(counters: UpstreamCounters) -> dict[str, float]:
    p50, p95, p99 = counters.latency_percentiles()
    return {
        "completed": counters.completed,
        "failed": counters.failed,
        "retries": counters.retries,
        "connections": counters.connections,
        "connection_attempts": counters.connection_attempts,
        "failed_attempts": counters.failed_attempts,
        "p50": p50,
        "p95": p95,
        "p99": p99,
    }
