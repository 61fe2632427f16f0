"""Steps of tests by keys: press, wait for a location, open a service."""

from __future__ import annotations

from textual.widgets import OptionList

from meshwright.tui.dialogs.choose_one import ChooseOne
from meshwright.tui.navigation import (
    TABS,
    Location,
    ServiceLocation,
    TabLocation,
)
from meshwright.tui.screen import MeshScreen
from meshwright.tui.widgets.table import Table
from tests.tui.pilot import (
    Dashboard,
    wait_for_table,
    wait_until,
)

LOCATIONS: tuple[Location, ...] = tuple(TabLocation(name) for name in TABS)


def current_location(pilot: Dashboard) -> Location | None:
    """The location on screen; None while a dialog is open."""
    screen = pilot.app.screen
    return screen.location if isinstance(screen, MeshScreen) else None


async def wait_for_location(pilot: Dashboard, location: Location) -> None:
    """Wait until a location is on screen."""
    await wait_until(pilot, lambda: current_location(pilot) == location)


async def press(pilot: Dashboard, *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await pilot.pause()


async def choose(pilot: Dashboard, key: str, text: str, *, closes: bool = True) -> None:
    """Press a key that opens a choice, and choose the line with a text."""
    await pilot.press(key)
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, ChooseOne))
    choices = pilot.app.screen.query_one(OptionList)
    texts = [str(option.prompt) for option in choices.options]
    choices.highlighted = next(index for index, each in enumerate(texts) if text in each)
    await pilot.press("enter")
    if closes:
        await wait_until(pilot, lambda: not isinstance(pilot.app.screen, ChooseOne))


async def open_services(pilot: Dashboard) -> Table:
    """Open the services tab; returns its table."""
    await press(pilot, "2")
    await wait_for_location(pilot, TabLocation("services"))
    return await wait_for_table(pilot)


async def open_worst_service(pilot: Dashboard) -> None:
    """Open the worst service."""
    await open_services(pilot)
    await press(pilot, "enter")
    await wait_for_location(pilot, ServiceLocation("inventory"))
    await wait_for_table(pilot)
