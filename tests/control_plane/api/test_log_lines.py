"""Times in log lines, and the order of lines from many logs."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from meshwright.control_plane.api.log_lines import LogSource, line_time, merge_lines, parse_lines

APP = LogSource("orders", "orders-1", "app")
PROXY = LogSource("orders", "orders-1", "proxy")
MOMENT = datetime(2026, 12, 2, 8, 30, 5, 250_000, UTC).timestamp()


@pytest.mark.parametrize(
    "line",
    [
        '{"event": "served", "timestamp": "2026-12-02T08:30:05.250000Z"}',
        "2026-12-02 09:30:05,250 +01:00 INFO orders served",
        "2026-12-02T08:30:05.25+0000 served",
    ],
)
def test_the_first_time_in_a_line_is_its_time(line: str) -> None:
    assert line_time(line) == MOMENT


@pytest.mark.parametrize(
    "line",
    [
        '127.0.0.1 - - [02/Dec/2026:08:30:05 +0000] "GET / HTTP/1.1" 200 5',
        '10.0.0.1 - bob [02/Dec/2026:09:30:05 +0100] "GET / HTTP/1.1" 200 5',
    ],
)
def test_web_servers_times_are_read(line: str) -> None:
    assert line_time(line) == MOMENT - 0.25


def test_a_time_without_a_zone_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert line_time("[2026-12-02 17:30:05.250][1][info] served") == MOMENT
        assert line_time("::1 - - [02/Dec/2026 17:30:05] served") == MOMENT - 0.25
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "line", ["", "Traceback (most recent call last):", "2026-13-40T99:00:00Z", "[99/Foo/2026:08:30:05 +0000]"]
)
def test_other_lines_have_no_time(line: str) -> None:
    assert line_time(line) is None


def test_a_line_without_a_time_stays_behind_the_one_before_it() -> None:
    app = parse_lines(APP, "starting\n2026-12-02T08:30:05Z failed\n  File x\n2026-12-02T08:30:07Z again\n")
    proxy = parse_lines(PROXY, "2026-12-02T08:30:06Z reset\n")
    assert [line.text[-8:] for line in merge_lines([*proxy, *app])] == [
        "starting", "Z failed", "  File x", "6Z reset", "7Z again",
    ]  # fmt: skip


def test_lines_of_one_log_keep_their_order_although_a_time_goes_back() -> None:
    lines = parse_lines(APP, "2026-12-02T08:30:05Z a\n2026-12-02T08:30:04Z b\n2026-12-02T08:30:06Z c\n")
    assert [line.text[-1] for line in merge_lines(lines)] == ["a", "b", "c"]


def test_the_time_before_the_first_line_continues_from_the_part_before() -> None:
    assert parse_lines(APP, "  File x\n", time=MOMENT)[0].time == MOMENT
