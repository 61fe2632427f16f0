"""The logs of services: merged, followed, filtered, paused, bounded."""

from __future__ import annotations

from meshwright.control_plane.api.log_lines import LogLine, LogSource
from meshwright.tui.features.logs.screen import LogsScreen
from meshwright.tui.features.logs.table import line_tone, trace_id
from meshwright.tui.navigation import LogsLocation, TraceLocation
from meshwright.tui.widgets.table import Table
from tests.fakes.admin_api import FakeAdminApi
from tests.tui.pilot import Dashboard, open_dashboard, screen_text, type_search, wait_for_text, wait_until
from tests.tui.steps import choose, open_worst_service, press, wait_for_location

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
FIRST = "2026-03-01T10:00:0{} INFO stock {}\n"


async def open_logs(pilot: Dashboard, api: FakeAdminApi) -> Table:
    """The logs of inventory, whose two apps wrote lines in turn."""
    api.logs["inventory-1"] = FIRST.format(1, "one") + FIRST.format(3, "three")
    api.logs["inventory-2"] = FIRST.format(2, "two")
    await open_worst_service(pilot)
    await press(pilot, "l")
    await wait_for_location(pilot, LogsLocation("inventory"))
    await wait_for_text(pilot, "stock three")
    return pilot.app.screen.query_one(Table)


def lines(table: Table) -> list[str]:
    return [row.cells[3].text.rpartition(" ")[2] for row in table.rows]


async def test_lines_of_all_instances_are_merged_by_time_and_followed() -> None:
    async with open_dashboard() as (pilot, api):
        table = await open_logs(pilot, api)
        assert lines(table) == ["one", "two", "three"]
        assert table.cursor == 2
        api.logs["inventory-2"] += FIRST.format(4, "four")
        await wait_until(pilot, lambda: lines(table) == ["one", "two", "three", "four"])
        assert table.cursor == 3
        await press(pilot, "up")
        api.logs["inventory-1"] += FIRST.format(5, "five")
        await wait_until(pilot, lambda: table.count == 5)
        assert table.cursor == 2


async def test_lines_are_searched_and_those_of_apps_or_envoys_chosen() -> None:
    async with open_dashboard() as (pilot, api):
        table = await open_logs(pilot, api)
        await choose(pilot, "f", "of apps only")
        await wait_for_text(pilot, "app only")
        assert table.count == 3
        await choose(pilot, "f", "of Envoys only")
        await wait_for_text(pilot, "Envoy only", "nothing matches")
        await choose(pilot, "f", "of apps and Envoys")
        await type_search(pilot, "stock !two")
        await wait_until(pilot, lambda: lines(table) == ["one", "three"])
        await press(pilot, "enter", "escape")
        await wait_until(pilot, lambda: table.count == 3)


async def test_a_paused_list_shows_afterwards_what_was_written() -> None:
    async with open_dashboard() as (pilot, api):
        table = await open_logs(pilot, api)
        await press(pilot, "space")
        api.logs["inventory-2"] += FIRST.format(4, f"four trace_id={TRACE}")
        await wait_for_text(pilot, "3 of 4 lines", "paused")
        await press(pilot, "space")
        await wait_until(pilot, lambda: table.count == 4)
        await press(pilot, "enter")
        await wait_for_location(pilot, TraceLocation(TRACE))


async def test_what_cannot_be_read_is_said_until_it_can() -> None:
    async with open_dashboard() as (pilot, api):
        table = await open_logs(pilot, api)
        await api.stop()
        await wait_for_text(pilot, "×")
        api.logs["inventory-2"] += FIRST.format(4, "four")
        await api.start()
        await wait_until(pilot, lambda: lines(table)[-1] == "four")
        await wait_until(pilot, lambda: "× " not in screen_text(pilot).splitlines()[2])


async def test_no_more_than_the_limit_is_kept() -> None:
    async with open_dashboard() as (pilot, api):
        table = await open_logs(pilot, api)
        screen = pilot.app.screen
        assert isinstance(screen, LogsScreen)
        log = LogSource("inventory", "inventory-1", "app")
        screen.add(LogLine(0.0, log, f"line {n}") for n in range(screen.LIMIT + 10))
        assert (table.count, table.rows[0].cells[3].text) == (screen.LIMIT, "line 10")
        assert screen.item(table.rows[-1].key) == LogLine(0.0, log, f"line {screen.LIMIT + 9}")
        assert screen.item("1") is None


def test_a_line_is_as_serious_as_its_level() -> None:
    assert line_tone("[2026-03-01 10:00:00][12][warning][upstream] retry") == "partial"
    assert line_tone('{"level": "ERROR", "message": "no stock"}') == "bad"
    assert line_tone("GET /errors 200") == "plain"


def test_a_trace_id_is_32_hexadecimal_digits() -> None:
    assert trace_id(f"traceparent=00-{TRACE.upper()}-00f067aa0ba902b7-01") == TRACE
    assert not trace_id(f"sha256:{TRACE}{TRACE}")
