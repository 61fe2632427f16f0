"""Histories keep what was told, also what comes late."""

from __future__ import annotations

import pytest

from control_plane.telemetry.counts import Counts
from control_plane.telemetry.series import Series


@pytest.mark.parametrize("step", [2.0, 16.0])
@pytest.mark.parametrize("late", [0.0, 1.5, 6.0])
def test_nothing_is_lost_where_points_meet(step: float, late: float) -> None:
    """Two tell in turn, one of them always some seconds late, across many points."""
    series, told = Series(step), 0
    for tick in range(1, 120):
        for now in (100.0 + 2 * tick, 100.0 + 2 * tick - late):
            series.add(Counts(answered=10, failed=1, spread={(1.0, 2.0): 10.0}), now, 2.0)
            told += 10
    points = [row for _, row in series.points(100.0 + 2 * 120)]
    assert sum(row["answered"] for row in points) == pytest.approx(told)
    assert sum(row["failed"] for row in points) == pytest.approx(told / 10)
    assert {round(row["p99"], 2) for row in points if row["answered"]} == {1.99}
