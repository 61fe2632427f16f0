"""Events as they happen: live, resumed after an outage, narrowed down, leading on."""

from __future__ import annotations

from control_plane.api.happened import Event
from tests.fakes.world import NOW
from tests.tui.looking import Dashboard, listed, looking, reads, search, text, until
from tui.places import Happenings, Place, Proxy, Revision, Service, Tab
from tui.screens.base import MeshScreen
from tui.screens.events import EventsScreen
from tui.widgets.table import Table


def happened(number: int, subject: str = "orders-1", kind: str = "sidecar", message: str = "") -> Event:
    at = NOW + number
    return Event(
        id=f"{int(at * 1000)}-0", time=at, kind=kind, subject=subject, message=message or f"news {number}"
    )


async def shown(pilot: Dashboard) -> Table:
    await pilot.press("6")
    await at(pilot, Tab("events"))
    return await listed(pilot)


async def at(pilot: Dashboard, wanted: Place) -> None:
    """Wait until a place is shown."""

    def there() -> bool:
        screen = pilot.app.screen
        return isinstance(screen, MeshScreen) and screen.place == wanted

    await until(pilot, there)


async def test_what_happens_appears_by_itself_once_and_on_top() -> None:
    async with looking() as (pilot, api):
        table = await shown(pilot)
        await until(pilot, lambda: api.listeners)
        await api.happen(happened(1))
        await until(pilot, lambda: "news 1" in text(pilot))
        assert table.rows[0].cells[4].text == "news 1"
        assert len({row.key for row in table.rows}) == len(table.rows)


async def test_what_was_missed_is_fetched_without_a_gap_or_a_double() -> None:
    async with looking() as (pilot, api):
        table = await shown(pilot)
        await until(pilot, lambda: api.listeners)
        await api.stop()
        await until(pilot, lambda: not api.listeners)
        for number in (1, 2, 3):
            await api.happen(happened(number))
        await api.start()
        await until(pilot, lambda: "news 3" in text(pilot))
        assert [row.cells[4].text for row in table.rows[:3]] == ["news 3", "news 2", "news 1"]
        assert len({row.key for row in table.rows}) == len(table.rows)


async def test_kinds_severities_and_words_narrow_down() -> None:
    async with looking() as (pilot, _):
        table = await shown(pilot)
        await pilot.press("w", "w")
        await until(pilot, lambda: len(table.rows) == 1)
        await reads(pilot, "error or worse")
        await pilot.press("escape")
        await until(pilot, lambda: len(table.rows) == 6)
        await pilot.press("f")
        await until(pilot, lambda: [row.cells[2].text for row in table.rows] == ["revision"])
        await pilot.press("escape")
        await until(pilot, lambda: len(table.rows) == 6)
        await search(pilot, "certificate")
        await until(pilot, lambda: [row.cells[2].text for row in table.rows] == ["svid"])


async def test_held_nothing_moves_and_then_all_is_there() -> None:
    async with looking() as (pilot, api):
        table = await shown(pilot)
        await until(pilot, lambda: api.listeners)
        await pilot.press("space")
        await reads(pilot, "held")
        await api.happen(happened(1))
        screen = table.screen
        assert isinstance(screen, EventsScreen)
        await until(pilot, lambda: len(screen._events) == 7)
        assert len(table.rows) == 6
        await pilot.press("space")
        await until(pilot, lambda: len(table.rows) == 7)


async def test_an_event_leads_to_what_it_is_about() -> None:
    async with looking() as (pilot, _):
        table = await shown(pilot)
        ways: tuple[tuple[str, Place], ...] = (
            ("breaker", Service("inventory")),
            ("revision", Revision(41)),
            ("sidecar", Proxy("trading-1")),
        )
        for kind, wanted in ways:
            table.pick(next(row.key for row in table.rows if row.cells[2].text == kind))
            await pilot.press("enter")
            await at(pilot, wanted)
            await pilot.press("escape")
            await until(pilot, lambda: pilot.app.screen is table.screen and table.has_focus)


async def test_the_events_of_one_service() -> None:
    async with looking(size=(140, 40)) as (pilot, _):
        await pilot.press("2")
        await at(pilot, Tab("services"))
        await listed(pilot)
        await pilot.press("enter")
        await at(pilot, Service("inventory"))
        await pilot.press("e")
        await at(pilot, Happenings("inventory"))
        assert {row.cells[2].text for row in (await listed(pilot)).rows} == {
            "breaker",
            "ejection",
            "instance",
        }
