"""The screen of `mesh top`: unhealthy services first, within any width and height."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType

from meshwright.cli import top_table
from meshwright.cli.top import TopState, frame
from meshwright.control_plane.api.models.topology import ServiceSummary, ServiceTrend


def service(name: str, **fields: Any) -> dict[str, Any]:
    """A ServiceSummary as the API sends it."""
    defaults = {"health": "healthy", "rps": 10.0, "p99_ms": 12.0, "instances": 2, "healthy": 2}
    summary = ServiceSummary.model_validate({"name": name, **defaults, **fields})
    result: dict[str, Any] = summary.model_dump(mode="json", by_alias=True)
    return result


MANY = [
    service("calm", rps=0.0),
    service("busy", rps=900.0, history=ServiceTrend(step=16, rps=tuple(float(n) for n in range(57)))),
    service("failing", health="degraded", success=0.9, retries_per_s=3.0, breaker="closed"),
    service("limited", breaker="partial", ejected=1),
    service("gone", health="unhealthy", rps=0.0, instances=1, healthy=0, breaker="open", ejected=12),
    service("ingress", role="gateway", instances=0, healthy=0, p99_ms=12_345.6, rps=123_456.7),
    service("new", health="unknown", rps=0.0, mtls=False),
    service("a-name-that-is-as-long-as-names-may-be-in-a-mesh-and-then-some", success=0.99999),
]
RESPONSE = {"services": MANY}


def render(renderable: RenderableType, width: int) -> list[str]:
    """The lines of a renderable on a screen of some width, without colours."""
    console = Console(file=io.StringIO(), width=width, color_system=None, highlight=False)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get().splitlines()


def table(width: int, height: int) -> list[str]:
    return render(top_table.service_table(RESPONSE, width, height), width)


def screen(state: TopState, width: int, height: int) -> list[str]:
    return render(frame(state, width, height), width)


def test_unhealthy_services_come_first_then_busy_ones() -> None:
    names = [row["name"] for row in top_table.worst_first(MANY)]
    assert names[:5] == ["gone", "failing", "limited", "ingress", "busy"]
    assert names[-2:] == ["calm", "new"]


def test_order_is_stable_while_rates_vary_a_little() -> None:
    def order(*rates: float) -> list[str]:
        rows = [service(name, rps=rate) for name, rate in zip("abc", rates, strict=True)]
        return [row["name"] for row in top_table.worst_first(rows)]

    assert order(9.1, 10.2, 11.3) == order(11.0, 10.0, 9.0) == ["a", "b", "c"]


@given(st.integers(20, 250), st.integers(3, 60))
def test_frame_fits_any_screen(width: int, height: int) -> None:
    lines = screen(TopState(RESPONSE, 0), width, height)
    assert len(lines) == max(height, 5), "a lower screen is cropped by Rich"
    assert max(len(line) for line in lines) <= width


def test_eighty_columns_show_the_essential_columns() -> None:
    lines = table(80, 99)
    assert lines[0].split() == [
        "SERVICE",
        "RPS",
        "SUCCESS",
        "P99",
        "RETRIES/S",
        "BREAKER",
        "READY",
        "TREND",
    ]
    rows = {line.split()[1]: line for line in lines[1:]}
    assert re.match(r"× gone +- +- +12 ms +- +× open -12 +0/1", rows["gone"])
    assert re.match(r"▲ failing +10.0 +90.00% +12 ms +3.0 +closed +2/2", rows["failing"])
    assert re.match(r"● ingress +123457 +100 % +12.35 s +- +- +-", rows["ingress"]), (
        "no breaker poses as closed"
    )
    assert "99.99%" in lines[6]
    assert rows["busy"].rstrip().endswith("▇█")


def test_a_low_screen_says_how_many_services_it_hides() -> None:
    lines = table(80, 5)
    assert len(lines) == 5
    assert lines[-1].rstrip() == f"  and {len(MANY) - 3} more: enlarge the window"


def test_an_unreachable_control_plane_is_reported_above_the_last_values() -> None:
    lines = screen(TopState(RESPONSE, 0, "cannot reach\nhttp://x: \x1b[31mrefused"), 200, 20)
    assert re.match(r"× no update since \d\d:\d\d:\d\d: cannot reach http://x:  \[31mrefused", lines[0])
    assert any("busy" in line for line in lines)


def test_summary_counts_services_and_requests() -> None:
    lines = screen(TopState(RESPONSE, 0), 120, 20)
    assert f"{len(MANY)} services and gateways: 1 unhealthy, 1 degraded, 5 healthy" in lines[0]
    assert lines[-1].startswith("q quits")


@pytest.mark.parametrize(
    ("values", "width", "bars"),
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
def test_sparkline_scales_to_the_highest_value(values: list[float], width: int, bars: str) -> None:
    assert top_table.sparkline(values, width) == bars
