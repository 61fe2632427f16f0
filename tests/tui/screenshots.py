"""The screens of the dashboard as SVG. `python -m tests.tui.screenshots` draws those of the README anew."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from textual.screen import Screen

from meshwright.tui.app import DashboardApp
from meshwright.tui.navigation import TABS, TabLocation
from meshwright.tui.screen import MeshScreen
from meshwright.tui.widgets.table import Table
from tests.tui.pilot import Dashboard, open_dashboard, wait_until

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
README_SCREENS = ("topology", "service", "trace")
"""Screens that the README shows."""

SCREENS: Mapping[str, tuple[str, ...]] = {
    "topology": ("1",),
    "services": ("2",),
    "service": ("2", "enter"),
    "traces": ("3",),
    "trace": ("3", "enter"),
    "policies": ("4",),
    "sidecars": ("5",),
    "sidecar": ("5", "enter"),
    "events": ("6",),
    "help": ("2", "question_mark"),
}
"""Keys that lead to each from any other; a tab's number once more leads to its start."""


def normalize(svg: str) -> str:
    """Without what differs from run to run, the port and the number in the names of styles, and without fonts
    from elsewhere.
    """
    fonts = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return re.sub(r"terminal-\d+", "terminal", re.sub(r"local:\d{5}", "local:15080", fonts))


async def stable_screenshot(pilot: Dashboard) -> str:
    """The picture once nothing is asked for any more and it has not changed for a while."""
    before, same = "", 0
    while same < 3:
        await pilot.pause(0.1)
        now = normalize(pilot.app.export_screenshot(title="mesh dash"))
        same = same + 1 if now == before and is_idle(pilot) else 0
        before = now
    return before


ENDLESS_WORKERS = ("poller", "listen")
"""Workers that never end: the one that asks for pictures, and the one that listens for events."""


def is_idle(pilot: Dashboard) -> bool:
    """Whether all that the screen needs has come, and nothing else is asked for."""
    screen, app = pilot.app.screen, cast("DashboardApp", pilot.app)
    asking = [one for one in app.workers if not one.is_finished and one.name not in ENDLESS_WORKERS]
    return not asking and (
        not isinstance(screen, MeshScreen) or app.mesh_state.fetched.keys() >= screen.STATE_FIELDS
    )


def table_ready(pilot: Dashboard) -> bool:
    """Whether the first table of a screen has rows and the keys, if there is one."""
    tables = pilot.app.screen.query(Table)
    return not tables or bool(tables.first().count and tables.first().has_focus)


def has_arrived(pilot: Dashboard, key: str, before: Screen[Any]) -> bool:
    """Whether a key has led where it leads: a number to the start of its tab, another one further."""
    screen = pilot.app.screen
    if key.isdecimal():
        return (
            isinstance(screen, MeshScreen)
            and screen.location == TabLocation(TABS[int(key) - 1])
            and table_ready(pilot)
        )
    return screen is not before and table_ready(pilot)


async def screenshot(pilot: Dashboard, screen: str) -> str:
    """A screen, from wherever the dashboard is."""
    keys = SCREENS[screen]
    for key in (keys[0], *keys):
        before = pilot.app.screen
        await pilot.press(key)
        await wait_until(pilot, partial(has_arrived, pilot, key, before))
    picture = await stable_screenshot(pilot)
    await pilot.press("escape")
    return picture


async def main() -> None:
    """Draw the README's."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    IMAGES.mkdir(exist_ok=True)
    async with open_dashboard("exchange", size=(110, 30)) as (pilot, _):
        for screen in README_SCREENS:
            (IMAGES / f"{screen}.svg").write_text(await screenshot(pilot, screen))


if __name__ == "__main__":
    asyncio.run(main())
