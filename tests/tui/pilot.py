"""A dashboard on a scenario: `async with open_dashboard("exchange", size=(80, 24)) as (pilot, api): ...`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from textual.pilot import Pilot
from textual.widgets import Input

from meshwright.tui.app import DashboardApp
from meshwright.tui.mesh_state import DashboardState
from meshwright.tui.session import StateUpdated
from meshwright.tui.widgets.table import Table
from tests.fakes.admin_api import FakeAdminApi, fake_admin_api
from tests.fakes.mesh_fixture import NOW

WITHIN = 60.0
"""Seconds in which a condition must hold; normally it takes a moment."""

Dashboard = Pilot[None]


class RecordingApp(DashboardApp):
    """A dashboard that records the last state passed to a screen."""

    last_state = DashboardState()

    def on_state_updated(self, message: StateUpdated) -> None:
        """Record it; Textual also calls the method of the base class."""
        self.last_state = message.state


@asynccontextmanager
async def open_dashboard(
    scenario: str = "exchange",
    *,
    size: tuple[int, int] = (120, 40),
    read_only: bool = False,
    theme: str = "dark",
) -> AsyncIterator[tuple[Dashboard, FakeAdminApi]]:
    """A dashboard at the time of the scenario, with its first state on screen."""
    async with fake_admin_api(scenario) as api:
        app = RecordingApp(lambda: api.endpoint, read_only=read_only, theme_name=theme, now=lambda: NOW)
        async with app.run_test(size=size) as pilot:
            await wait_until(pilot, lambda: app.last_state.status and app.last_state.topology)
            await pilot.pause()
            yield pilot, api


async def wait_until(pilot: Dashboard, condition: Callable[[], object], within: float = WITHIN) -> None:
    """Wait until a condition holds; the test fails if it does not in time."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"the condition does not hold:\n{screen_text(pilot)}"
        await pilot.pause(0.02)


async def wait_for_text(pilot: Dashboard, *texts: str) -> None:
    """Wait until the screen contains each of the texts."""

    def contains(text: str) -> bool:
        return text in screen_text(pilot)

    for text in texts:
        await wait_until(pilot, partial(contains, text))


async def wait_for_table(pilot: Dashboard) -> Table:
    """The first table of the screen, once it has rows, a size and the focus."""

    def ready() -> bool:
        tables = pilot.app.screen.query(Table)
        table = tables.first() if tables else None
        return table is not None and bool(table.count and table.size.area and table.has_focus)

    await wait_until(pilot, ready)
    await pilot.pause()
    return pilot.app.screen.query(Table).first()


async def type_search(pilot: Dashboard, text: str) -> None:
    """Open the search bar and type a text."""
    await pilot.press("slash")
    await wait_until(pilot, lambda: isinstance(pilot.app.focused, Input))
    await pilot.press(*text)


def screen_text(pilot: Dashboard) -> str:
    """The text on the screen, line by line."""
    screen = pilot.app.screen
    strips = screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips)
