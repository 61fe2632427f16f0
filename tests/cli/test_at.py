"""`mesh at`: times as people write them, and what is shown of a moment."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from meshwright.cli.past_times import format_ago, parse_past_time
from meshwright.control_plane.api.models.events import Event
from meshwright.control_plane.api.models.moments import PastMesh, RecordedRange
from meshwright.control_plane.api.models.revisions import DocumentChange, RevisionInfo
from tests.cli.conftest import RunMesh
from tests.control_plane.moments.samples import AT, moment
from tests.fakes.admin_server import FakeMesh

NOON = datetime(2026, 12, 2, 12, 0, 0).timestamp()
PAST = PastMesh(
    at=AT + 600,
    moment=moment(AT, revision=7),
    recorded=RecordedRange(oldest=AT - 60, newest=AT, earlier=AT - 10),
    info=RevisionInfo(
        revision=7, author="ana@build", time=AT - 90, message="slow down",
        changed=(DocumentChange(kind="FaultInjection", name="slow", action="created"),),
    ),
    policies=("FaultInjection/slow", "Retry/inventory"),
    events=(Event(id="2-0", time=AT, kind="breaker", subject="orders → inventory", message="opened"),),
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("11:30", -1800),
        ("11:59:58", -2),
        ("12:00", 0),
        ("9:00", -3 * 3600),
        ("12:01", 60 - 86_400),
        ("10m", -600),
        ("-10m", -600),
        ("1h30m", -5400),
        ("2026-12-02 11:00", -3600),
        ("2026-12-02T11:00:30", -3570),
        ("2026-12-01", -36 * 3600),
    ],
)
def test_times_without_a_zone_are_local_and_past(text: str, seconds: float) -> None:
    assert parse_past_time(text, NOON) == NOON + seconds


def test_times_with_a_zone() -> None:
    utc = datetime(2026, 12, 2, 14, 32, 10, tzinfo=UTC).timestamp()
    assert parse_past_time("2026-12-02T14:32:10Z", NOON) == utc
    assert parse_past_time("2026-12-02T15:32:10+01:00", NOON) == utc


@pytest.mark.parametrize("text", ["", "soon", "25:00", "12:60", "-", "2026-13-01", "10 minutes"])
def test_other_text_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time: write 14:32"):
        parse_past_time(text, NOON)


def test_how_long_ago() -> None:
    assert [format_ago(seconds) for seconds in (-1, 42.4, 60, 3599, 7200, 7500)] == [
        "0 s ago", "42 s ago", "1 min ago", "59 min ago", "2 h ago", "2 h 5 min ago",
    ]  # fmt: skip


async def test_a_moment_shows_what_was_wrong_who_changed_what_and_the_worst_edges(
    mesh: FakeMesh, run: RunMesh
) -> None:
    mesh.past = PAST
    result = await run("at", "-10m", env={"TZ": "UTC"})
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].startswith("2026-11-21 14:32:00, ")
    assert "▲ nothing was recorded after that" in lines
    assert "× inventory: 25 % of 12.0/s fail since 2026-11-21 14:31" in lines
    assert any(
        line.startswith('revision 7 of 2026-11-21 14:30:30 by ana@build: "slow down" (created Fault')
        for line in lines
    )
    assert "policies in force: 2 (see `mesh show 7`)" in lines
    services = next(index for index, line in enumerate(lines) if line.startswith("SERVICE"))
    assert lines[services + 1].split()[:6] == ["inventory", "▲", "degraded", "2/2", "12.0/s", "75.00"]
    assert any(line.split()[:2] == ["orders", "inventory"] for line in lines)
    assert lines[-1].endswith("orders → inventory: opened")

    everything = await run("at", "2026-11-21T14:32:10Z", "--all")
    assert "policies in force: 2 (FaultInjection/slow, Retry/inventory)" in everything.out


async def test_a_moment_as_json_has_times_in_rfc_3339(mesh: FakeMesh, run: RunMesh) -> None:
    mesh.past = PAST
    shown = json.loads((await run("at", "14:32", "-o", "json")).out)
    assert (shown["at"], shown["recorded"]["oldest"]) == (
        "2026-11-21T14:42:00.000Z",
        "2026-11-21T14:31:00.000Z",
    )
    assert shown["recorded"]["later"] is None
    assert shown["moment"]["topology"]["edges"][0]["from"] == "orders"


async def test_a_time_without_a_moment_and_one_that_is_none(mesh: FakeMesh, run: RunMesh) -> None:
    result = await run("at", "10m")
    assert (result.code, result.out) == (2, "")
    assert "nothing is recorded" in result.err
    wrong = await run("at", "yesterday")
    assert wrong.code == 2
    assert "'yesterday' is not a time: write 14:32" in wrong.err
