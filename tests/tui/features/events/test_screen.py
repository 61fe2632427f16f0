"""Events: live, resumed after an outage, filtered, opened."""

from __future__ import annotations

from meshwright.control_plane.api.models.events import Event
from meshwright.tui.features.events.screen import EventsScreen
from meshwright.tui.navigation import (
    EventsLocation,
    Location,
    ProxyLocation,
    RevisionLocation,
    ServiceLocation,
    TabLocation,
)
from meshwright.tui.screen import MeshScreen
from meshwright.tui.widgets.table import Table
from tests.fakes.mesh_fixture import NOW
from tests.tui.pilot import (
    Dashboard,
    open_dashboard,
    screen_text,
    type_search,
    wait_for_table,
    wait_for_text,
    wait_until,
)
from tests.tui.steps import choose


def happened(number: int, subject: str = "orders-1", kind: str = "sidecar", message: str = "") -> Event:
    at = NOW + number
    return Event(
        id=f"{int(at * 1000)}-0", time=at, kind=kind, subject=subject, message=message or f"news {number}"
    )


async def shown(pilot: Dashboard) -> Table:
    await pilot.press("6")
    await at(pilot, TabLocation("events"))
    return await wait_for_table(pilot)


async def at(pilot: Dashboard, location: Location) -> None:
    """Wait until a location is on screen."""

    def there() -> bool:
        screen = pilot.app.screen
        return isinstance(screen, MeshScreen) and screen.location == location

    await wait_until(pilot, there)


async def test_a_new_event_appears_once_at_the_top() -> None:
    async with open_dashboard() as (pilot, api):
        table = await shown(pilot)
        await wait_until(pilot, lambda: api.event_queues)
        await api.emit(happened(1))
        await wait_until(pilot, lambda: "news 1" in screen_text(pilot))
        assert table.rows[0].cells[4].text == "news 1"
        assert len({row.key for row in table.rows}) == len(table.rows)


async def test_events_missed_during_an_outage_are_fetched_once() -> None:
    async with open_dashboard() as (pilot, api):
        table = await shown(pilot)
        await wait_until(pilot, lambda: api.event_queues)
        await api.stop()
        await wait_until(pilot, lambda: not api.event_queues)
        for number in (1, 2, 3):
            await api.emit(happened(number))
        await api.start()
        await wait_until(pilot, lambda: "news 3" in screen_text(pilot))
        assert [row.cells[4].text for row in table.rows[:3]] == ["news 3", "news 2", "news 1"]
        assert len({row.key for row in table.rows}) == len(table.rows)


async def test_events_are_filtered_by_kind_severity_and_text() -> None:
    async with open_dashboard() as (pilot, _):
        table = await shown(pilot)
        await choose(pilot, "f", "error or worse")
        await wait_until(pilot, lambda: len(table.rows) == 1)
        await wait_for_text(pilot, "error or worse")
        await pilot.press("escape")
        await wait_until(pilot, lambda: len(table.rows) == 6)
        await choose(pilot, "f", "of kind revision")
        await wait_until(pilot, lambda: [row.cells[2].text for row in table.rows] == ["revision"])
        await pilot.press("escape")
        await wait_until(pilot, lambda: len(table.rows) == 6)
        await type_search(pilot, "certificate")
        await wait_until(pilot, lambda: [row.cells[2].text for row in table.rows] == ["svid"])


async def test_a_paused_list_catches_up_when_resumed() -> None:
    async with open_dashboard() as (pilot, api):
        table = await shown(pilot)
        await wait_until(pilot, lambda: api.event_queues)
        await pilot.press("space")
        await wait_for_text(pilot, "paused")
        await api.emit(happened(1))
        screen = table.screen
        assert isinstance(screen, EventsScreen)
        await wait_until(pilot, lambda: len(screen._events) == 7)
        assert len(table.rows) == 6
        await pilot.press("space")
        await wait_until(pilot, lambda: len(table.rows) == 7)


async def test_enter_opens_the_object_of_an_event() -> None:
    async with open_dashboard() as (pilot, _):
        table = await shown(pilot)
        targets: tuple[tuple[str, Location], ...] = (
            ("breaker", ServiceLocation("inventory")),
            ("revision", RevisionLocation(41)),
            ("sidecar", ProxyLocation("trading-1")),
        )
        for kind, location in targets:
            table.select_key(next(row.key for row in table.rows if row.cells[2].text == kind))
            await pilot.press("enter")
            await at(pilot, location)
            await pilot.press("escape")
            await wait_until(pilot, lambda: pilot.app.screen is table.screen and table.has_focus)


async def test_the_events_of_one_service() -> None:
    async with open_dashboard(size=(140, 40)) as (pilot, _):
        await pilot.press("2")
        await at(pilot, TabLocation("services"))
        await wait_for_table(pilot)
        await pilot.press("enter")
        await at(pilot, ServiceLocation("inventory"))
        await pilot.press("h")
        await at(pilot, EventsLocation("inventory"))
        assert {row.cells[2].text for row in (await wait_for_table(pilot)).rows} == {
            "breaker",
            "ejection",
            "instance",
        }
