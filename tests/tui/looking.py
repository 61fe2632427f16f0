"""A dashboard on a scenario: `async with looking("exchange", size=(80, 24)) as (pilot, api): ...`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from textual.pilot import Pilot

from tests.fakes.admin_api import FakeAdmin, fake_admin
from tests.fakes.admin_world import NOW
from tui.app import Dash

WITHIN = 60.0
"""Seconds for what normally takes a moment."""

Dashboard = Pilot[None]


@asynccontextmanager
async def looking(
    scenario: str = "exchange",
    *,
    size: tuple[int, int] = (120, 40),
    read_only: bool = False,
    theme: str = "dark",
) -> AsyncIterator[tuple[Dashboard, FakeAdmin]]:
    """A dashboard at the scenario's moment, with its first picture on screen."""
    async with fake_admin(scenario) as api:
        app = Dash(lambda: api.endpoint, read_only=read_only, theme_name=theme, now=lambda: NOW)
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: app.picture.status and app.picture.topology)
            await pilot.pause()
            yield pilot, api


async def until(pilot: Dashboard, condition: Callable[[], object], within: float = WITHIN) -> None:
    """Wait for a condition; fails the test when it does not come to hold."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come to hold"
        await pilot.pause(0.02)


def text(pilot: Dashboard) -> str:
    """What stands on the screen, line by line."""
    screen = pilot.app.screen
    strips = screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips)
