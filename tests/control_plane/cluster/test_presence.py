"""An absence of the control plane is noticed when it is back, and is not confused with one of the store."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.models.status import ControlPlaneAbsence
from meshwright.control_plane.cluster.presence import SHOWN_FOR, Presence
from meshwright.control_plane.errors import StoreError

ADDRESS = "127.0.0.1:15012"


class Traces:
    """The traces of one address, by a clock that the test sets. `step`: by how much the store's was set."""

    def __init__(self, last: float = 0.0) -> None:
        self.last = last
        self.now = 0.0
        self.step = 0.0
        self.is_away = False

    async def record_presence(self, address: str) -> tuple[float, float]:
        assert address == ADDRESS
        if self.is_away:
            raise StoreError("away")
        before, self.last = self.last, self.now + self.step
        return before, self.last


async def record_at(traces: Traces, presence: Presence, *times: float) -> None:
    for traces.now in times:
        await presence.record(ADDRESS)


def start(traces: Traces) -> tuple[Presence, list[tuple[float, float]]]:
    reported: list[tuple[float, float]] = []

    def on_return(address: str, absence: ControlPlaneAbsence) -> None:
        assert address == ADDRESS
        reported.append((absence.since, absence.until))

    return Presence(traces, on_return, lambda: traces.now), reported


async def test_first_start_is_no_absence() -> None:
    traces = Traces()
    presence, reported = start(traces)
    await record_at(traces, presence, 100, 102, 104)
    assert reported == []
    assert presence.recent_absence() is None


async def test_every_restart_is_an_absence_however_short() -> None:
    traces = Traces(last=100)
    presence, reported = start(traces)
    await record_at(traces, presence, 102.5, 104.5, 106.5)
    assert reported == [(100, 102.5)]
    assert presence.recent_absence() == ControlPlaneAbsence(since=100, until=102.5)


async def test_a_frozen_process_was_absent_and_a_slow_one_was_not() -> None:
    traces = Traces()
    presence, reported = start(traces)
    await record_at(traces, presence, 100, 105.9, 125)
    assert reported == [(105.9, 125)]


@pytest.mark.parametrize("step", [3600.0, -3600.0])
async def test_a_clock_that_is_set_is_no_absence(step: float) -> None:
    traces = Traces()
    presence, reported = start(traces)
    await record_at(traces, presence, 100, 102)
    traces.step = step
    await record_at(traces, presence, 104, 106)
    assert reported == []
    assert presence.recent_absence() is None
    await record_at(traces, presence, 130)
    assert reported == [(106 + step, 130 + step)], "the next absence has its own length"
    await record_at(traces, presence, 132)
    traces.step = 3 * SHOWN_FOR
    await record_at(traces, presence, 134)
    assert presence.recent_absence() is not None, "it was half a minute ago, whatever the clock says"


async def test_absence_of_the_store_is_not_one_of_the_control_plane() -> None:
    traces = Traces()
    presence, reported = start(traces)
    await record_at(traces, presence, 100)
    traces.is_away = True
    await record_at(traces, presence, 102, 130)
    traces.is_away = False
    await record_at(traces, presence, 132, 134, 160)
    assert reported == [(134, 160)], "only the pause after the store was back"


async def test_restart_while_the_store_is_away_is_still_an_absence() -> None:
    traces = Traces(last=100)
    traces.is_away = True
    presence, reported = start(traces)
    await record_at(traces, presence, 110)
    traces.is_away = False
    await record_at(traces, presence, 120)
    assert reported == [(100, 120)]


async def test_status_shows_an_absence_for_an_hour() -> None:
    traces = Traces(last=100)
    presence, _ = start(traces)
    times = [110.0 + 2 * step for step in range(int(SHOWN_FOR / 2))]
    await record_at(traces, presence, *times)
    assert presence.recent_absence() == ControlPlaneAbsence(since=100, until=110)
    await record_at(traces, presence, 110 + SHOWN_FOR)
    assert presence.recent_absence() is None
