"""Screenshots of the dashboard as SVG. `python -m tests.tui.screenshots` updates those of the README."""

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
"""Screens shown in the README."""

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
    "push": ("4", "H"),
    "explain": ("2", "enter", "E"),
}
"""Keys that open each screen from any other; pressing a tab's number again opens its first screen."""


def normalize(svg: str) -> str:
    """Remove what differs from run to run (port, numbers of styles), and fonts from other hosts."""
    fonts = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return re.sub(r"terminal-\d+", "terminal", re.sub(r"local:\d{5}", "local:15080", fonts))


async def stable_screenshot(pilot: Dashboard) -> str:
    """A screenshot once nothing is being fetched and the screen has not changed for a while."""
    before, same = "", 0
    while same < 3:
        await pilot.pause(0.1)
        now = normalize(pilot.app.export_screenshot(title="mesh dash"))
        same = same + 1 if now == before and is_idle(pilot) else 0
        before = now
    return before


ENDLESS_WORKERS = ("poller", "listen")
"""Workers that never end: the poller, and the one that receives events."""


def is_idle(pilot: Dashboard) -> bool:
    """Whether all fields of the screen have been fetched, and nothing else is being fetched."""
    screen, app = pilot.app.screen, cast("DashboardApp", pilot.app)
    active = [worker for worker in app.workers if not worker.is_finished]
    fetching = [worker for worker in active if worker.name not in ENDLESS_WORKERS]
    return not fetching and (
        not isinstance(screen, MeshScreen) or app.mesh_state.fetched.keys() >= screen.STATE_FIELDS
    )


def table_ready(pilot: Dashboard) -> bool:
    """Whether the first table of the screen, if any, has rows and the focus."""
    tables = pilot.app.screen.query(Table)
    return not tables or bool(tables.first().count and tables.first().has_focus)


def has_arrived(pilot: Dashboard, key: str, before: Screen[Any]) -> bool:
    """Whether a key has taken effect: a number opens its tab, any other key a new screen."""
    screen = pilot.app.screen
    if key.isdecimal():
        return (
            isinstance(screen, MeshScreen)
            and screen.location == TabLocation(TABS[int(key) - 1])
            and table_ready(pilot)
        )
    return screen is not before and table_ready(pilot)


async def screenshot(pilot: Dashboard, screen: str) -> str:
    """The screenshot of a screen, from any other."""
    keys = SCREENS[screen]
    for key in (keys[0], *keys):
        before = pilot.app.screen
        await pilot.press(key)
        await wait_until(pilot, partial(has_arrived, pilot, key, before))
    picture = await stable_screenshot(pilot)
    await pilot.press("escape")
    return picture


async def main() -> None:
    """Update the README's screenshots."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    IMAGES.mkdir(exist_ok=True)
    async with open_dashboard("exchange", size=(110, 30)) as (pilot, _):
        for screen in README_SCREENS:
            (IMAGES / f"{screen}.svg").write_text(await screenshot(pilot, screen))


if __name__ == "__main__":
    asyncio.run(main())
