"""What `mesh top` draws: what is bad first, within any width and height."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.cli import top_table
from meshwright.cli.top import TopState, frame
from meshwright.control_plane.api.models.topology import ServiceSummary, ServiceTrend


def row(name: str, **more: Any) -> dict[str, Any]:
    """A row as the API tells it."""
    told = {"health": "healthy", "rps": 10.0, "p99_ms": 12.0, "instances": 2, "healthy": 2, **more}
    found: dict[str, Any] = ServiceSummary(name=name, **told).model_dump(mode="json", by_alias=True)
    return found


MANY = [
    row("calm", rps=0.0),
    row("busy", rps=900.0, history=ServiceTrend(step=16, rps=tuple(float(n) for n in range(57)))),
    row("failing", health="degraded", success=0.9, retries_per_s=3.0),
    row("limited", breaker="partial", ejected=1),
    row("gone", health="unhealthy", rps=0.0, instances=1, healthy=0, breaker="open", ejected=12),
    row("ingress", role="gateway", instances=0, healthy=0, p99_ms=12_345.6, rps=123_456.7),
    row("new", health="unknown", rps=0.0, mtls=False),
    row("a-name-that-is-as-long-as-names-may-be-in-a-mesh-and-then-some", success=0.99999),
]


def test_what_is_bad_comes_first_then_what_is_busy() -> None:
    names = [one["name"] for one in top_table.worst_first(MANY)]
    assert names[:5] == ["gone", "failing", "limited", "ingress", "busy"]
    assert names[-2:] == ["calm", "new"]


def test_rows_stand_still_while_figures_move_a_little() -> None:
    def order(*rates: float) -> list[str]:
        given = [row(name, rps=rate) for name, rate in zip("abc", rates, strict=True)]
        return [one["name"] for one in top_table.worst_first(given)]

    assert order(9.1, 10.2, 11.3) == order(11.0, 10.0, 9.0) == ["a", "b", "c"]


@given(st.integers(20, 250), st.integers(3, 60))
def test_it_fits(width: int, height: int) -> None:
    drawn = frame(TopState({"services": MANY}, 0), width, height)
    assert len(drawn) == height
    assert max(len(line) for line in drawn) <= width


def test_eighty_columns_show_all_that_matters() -> None:
    drawn = top_table.lines(MANY, 80, 99)
    assert drawn[0].split() == [
        "SERVICE",
        "RATE/S",
        "SUCCESS",
        "P99",
        "RETRY/S",
        "BREAKER",
        "UP",
        "TREND",
    ]
    found = {line.split()[1]: line for line in drawn[1:]}
    assert re.match(r"✖ gone +- +- +12 ms +- +✖ open -12 +0/1", found["gone"])
    assert re.match(r"◐ failing +10.0 +✖ 90.00% +12 ms +3.0 +closed +2/2", found["failing"])
    assert re.match(r"● ingress +123457 +100 % +12.35 s +- +closed +-", found["ingress"])
    assert "99.99%" in drawn[6]
    assert found["busy"].endswith("▇█")


def test_a_low_window_says_what_it_leaves_out() -> None:
    drawn = top_table.lines(MANY, 80, 5)
    assert len(drawn) == 5
    assert drawn[-1] == f"  and {len(MANY) - 3} more: make the window higher"


def test_what_cannot_be_reached_is_said_above_the_old_figures() -> None:
    drawn = frame(TopState({"services": MANY}, 0, "cannot reach\nhttp://x: \x1b[31mrefused"), 200, 20)
    assert re.match(r"✖ as of \d\d:\d\d:\d\d, nothing newer: cannot reach http://x:  \[31mrefused", drawn[0])
    assert any("busy" in line for line in drawn)


def test_the_summary_counts_services_and_calls() -> None:
    drawn = frame(TopState({"services": MANY}, 0), 120, 20)
    assert f"{len(MANY)} services and gateways: 1 unhealthy, 1 degraded, 5 healthy" in drawn[0]
    assert drawn[-1].startswith("q quits")


@pytest.mark.parametrize(
    ("values", "width", "drawn"),
    [
        ([], 4, "    "),
        ([0, 0], 4, "    "),
        ([1], 3, "  █"),
        ([0, 1, 8], 3, " ▁█"),
        ([1, 2, 3, 4, 5, 6, 7, 8], 8, "▁▂▃▄▅▆▇█"),
        ([9, 1, 1, 7, 7], 3, "█▁▇"),
        ([5], 0, ""),
    ],
)
def test_sparklines(values: list[float], width: int, drawn: str) -> None:
    assert top_table.sparkline(values, width) == drawn
