"""The trend of a service: bars, and the axis that marks revisions."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.api.models.topology import ServiceTrend
from meshwright.tui.features.services.trend import LABEL_WIDTH, trend_lines
from tests.fakes.mesh_fixture import NOW


def test_the_axis_marks_revisions_of_the_last_15_minutes() -> None:
    revisions = [
        RevisionInfo(revision=41, author="", time=NOW - 450),
        RevisionInfo(revision=9, author="", time=NOW - 9000),
    ]
    axis = trend_lines(ServiceTrend(step=16.0, rps=(1.0,)), revisions, NOW, 124)[-1].plain
    assert "↑41" in axis
    assert "↑9" not in axis
    assert axis.index("↑") == pytest.approx(LABEL_WIDTH + 49, abs=1)


def test_a_trend_without_data_still_has_all_lines() -> None:
    lines = trend_lines(ServiceTrend(step=16.0), (), NOW, 80)
    assert [line.plain.split()[0] for line in lines] == ["rate", "failures", "p99", "-15"]
