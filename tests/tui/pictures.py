"""The screens of the dashboard as SVG. `python -m tests.tui.pictures` draws those of the README anew."""

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

from tests.tui.looking import Dashboard, looking, until
from tui.app import Dash
from tui.places import TABS, Tab
from tui.screens.base import MeshScreen
from tui.widgets.table import Table

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
SHOWN = ("topology", "service", "trace")
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


def normal(svg: str) -> str:
    """Without what differs from run to run, the port and the number in the names of styles, and without fonts
    from elsewhere.
    """
    fonts = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return re.sub(r"terminal-\d+", "terminal", re.sub(r"local:\d{5}", "local:15080", fonts))


async def settled(pilot: Dashboard) -> str:
    """The picture once nothing is asked for any more and it has not changed for a while."""
    before, same = "", 0
    while same < 3:
        await pilot.pause(0.1)
        now = normal(pilot.app.export_screenshot(title="mesh dash"))
        same = same + 1 if now == before and quiet(pilot) else 0
        before = now
    return before


ENDLESS = ("source", "listen")
"""Workers that never end: the one that asks for pictures, and the one that listens for events."""


def quiet(pilot: Dashboard) -> bool:
    """Whether all that the screen needs has come, and nothing else is asked for."""
    screen, app = pilot.app.screen, cast("Dash", pilot.app)
    asking = [one for one in app.workers if not one.is_finished and one.name not in ENDLESS]
    return not asking and (not isinstance(screen, MeshScreen) or app.picture.fetched.keys() >= screen.NEEDS)


def filled(pilot: Dashboard) -> bool:
    """Whether the first table of a screen has rows and the keys, if there is one."""
    tables = pilot.app.screen.query(Table)
    return not tables or bool(tables.first().count and tables.first().has_focus)


def shown(pilot: Dashboard, key: str, before: Screen[Any]) -> bool:
    """Whether a key has led where it leads: a number to the start of its tab, another one further."""
    screen = pilot.app.screen
    if key.isdecimal():
        return isinstance(screen, MeshScreen) and screen.place == Tab(TABS[int(key) - 1]) and filled(pilot)
    return screen is not before and filled(pilot)


async def draw(pilot: Dashboard, screen: str) -> str:
    """A screen, from wherever the dashboard is."""
    keys = SCREENS[screen]
    for key in (keys[0], *keys):
        before = pilot.app.screen
        await pilot.press(key)
        await until(pilot, partial(shown, pilot, key, before))
    picture = await settled(pilot)
    await pilot.press("escape")
    return picture


async def main() -> None:
    """Draw the README's."""
    os.environ["TZ"] = "UTC"
    time.tzset()
    IMAGES.mkdir(exist_ok=True)
    async with looking("exchange", size=(110, 30)) as (pilot, _):
        for screen in SHOWN:
            (IMAGES / f"{screen}.svg").write_text(await draw(pilot, screen))


if __name__ == "__main__":
    asyncio.run(main())
