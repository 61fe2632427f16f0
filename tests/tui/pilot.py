"""A dashboard on a scenario: `async with looking("exchange", size=(80, 24)) as (pilot, api): ...`."""

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
"""Seconds for what normally takes a moment."""

Dashboard = Pilot[None]


class RecordingApp(DashboardApp):
    """A dashboard of which is known what its screen was given last."""

    last_state = DashboardState()

    def on_state_updated(self, message: StateUpdated) -> None:
        """Note it; Textual calls the class below by itself."""
        self.last_state = message.state


@asynccontextmanager
async def open_dashboard(
    scenario: str = "exchange",
    *,
    size: tuple[int, int] = (120, 40),
    read_only: bool = False,
    theme: str = "dark",
) -> AsyncIterator[tuple[Dashboard, FakeAdminApi]]:
    """A dashboard at the scenario's moment, with its first picture on screen."""
    async with fake_admin_api(scenario) as api:
        app = RecordingApp(lambda: api.endpoint, read_only=read_only, theme_name=theme, now=lambda: NOW)
        async with app.run_test(size=size) as pilot:
            await wait_until(pilot, lambda: app.last_state.status and app.last_state.topology)
            await pilot.pause()
            yield pilot, api


async def wait_until(pilot: Dashboard, condition: Callable[[], object], within: float = WITHIN) -> None:
    """Wait for a condition; fails the test when it does not come to hold."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"the condition did not come to hold:\n{screen_text(pilot)}"
        await pilot.pause(0.02)


async def wait_for_text(pilot: Dashboard, *wanted: str) -> None:
    """Wait until the screen holds some words."""

    def held(words: str) -> bool:
        return words in screen_text(pilot)

    for words in wanted:
        await wait_until(pilot, partial(held, words))


async def wait_for_table(pilot: Dashboard) -> Table:
    """The first table of the screen, once it has rows, a place and the keys."""

    def found() -> Table | None:
        for table in pilot.app.screen.query(Table):
            return table if table.count and table.size.area and table.has_focus else None
        return None

    await wait_until(pilot, found)
    await pilot.pause()
    return pilot.app.screen.query(Table).first()


async def type_search(pilot: Dashboard, words: str) -> None:
    """Open the line in which one searches, and write into it."""
    await pilot.press("slash")
    await wait_until(pilot, lambda: isinstance(pilot.app.focused, Input))
    await pilot.press(*words)


def screen_text(pilot: Dashboard) -> str:
    """What stands on the screen, line by line."""
    screen = pilot.app.screen
    strips = screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips)
