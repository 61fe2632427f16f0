"""Which moments are kept: fine ones of the last hour, one a minute before, within a time and a size."""

from __future__ import annotations

from itertools import pairwise

import pytest

from meshwright.control_plane.moments.retention import COARSE_STEP, FINE_SECONDS, STEP, Kept, Retention

DAY = 86_400
NOW = 10 * DAY


def after_a_while(retention: Retention, seconds: int) -> list[int]:
    """The times that remain at NOW, of moments recorded and thinned for that long."""
    entries: list[Kept] = []
    for time in range(NOW - seconds, NOW + 1, STEP):
        entries.append(Kept(time, 1000))
        if time % 600 == 0:
            gone = set(retention.surplus(entries, time))
            entries = [entry for entry in entries if entry not in gone]
    return [entry.time for entry in entries]


def test_the_last_hour_is_whole_and_every_earlier_minute_has_one() -> None:
    times = after_a_while(Retention(DAY, 10**9), 2 * DAY)
    fine = [time for time in times if time >= NOW - FINE_SECONDS]
    coarse = [time for time in times if time <= NOW - FINE_SECONDS]
    assert {late - early for early, late in pairwise(fine)} == {STEP}
    assert {late - early for early, late in pairwise(coarse)} == {COARSE_STEP}
    assert times[0] == NOW - DAY
    assert len(times) == FINE_SECONDS // STEP + (DAY - FINE_SECONDS) // COARSE_STEP + 1


@pytest.mark.parametrize("allowed", [0, 1000, 50_000])
def test_the_oldest_make_room(allowed: int) -> None:
    times = after_a_while(Retention(DAY, allowed), FINE_SECONDS)
    assert times == list(range(NOW, NOW - FINE_SECONDS - 1, -STEP))[: allowed // 1000][::-1]


def test_a_minute_whose_first_moment_is_missing_keeps_another() -> None:
    old = NOW - 2 * FINE_SECONDS
    entries = [Kept(old + 30, 1), Kept(old + 40, 1), Kept(old + 60, 1)]
    assert Retention(DAY, 100).surplus(entries, NOW) == (Kept(old + 40, 1),)


def test_without_a_surplus_nothing_is_removed() -> None:
    assert Retention(DAY, 100).surplus([Kept(NOW, 100)], NOW) == ()
    assert Retention(DAY, 100).surplus([], NOW) == ()
