"""Time series count everything that is added, late flushes too."""

from __future__ import annotations

import pytest

from meshwright.control_plane.telemetry.topology.counters import UpstreamCounters
from meshwright.control_plane.telemetry.topology.timeseries import TimeSeries


@pytest.mark.parametrize("step", [2.0, 16.0])
@pytest.mark.parametrize("late", [0.0, 1.5, 6.0])
def test_late_flushes_are_counted_across_points(step: float, late: float) -> None:
    """Two sidecars flush in turn, one of them always late."""
    series, total = TimeSeries(step), 0
    for tick in range(1, 120):
        for now in (100.0 + 2 * tick, 100.0 + 2 * tick - late):
            series.add(UpstreamCounters(completed=10, failed=1, latency_buckets={(1.0, 2.0): 10.0}), now, 2.0)
            total += 10
    points = [row for _, row in series.points(100.0 + 2 * 120)]
    assert sum(row["completed"] for row in points) == pytest.approx(total)
    assert sum(row["failed"] for row in points) == pytest.approx(total / 10)
    assert {round(row["p99"], 2) for row in points if row["completed"]} == {1.99}
