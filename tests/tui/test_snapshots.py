"""Pictures of every screen at three sizes, dark and light, against those that were looked at and kept.

`UPDATE_SNAPSHOTS=1 pytest tests/tui/test_snapshots.py` draws them anew into `snapshots/`: look at them (any
browser shows SVG) before keeping them. Everything in them is made up and stands still, clock and ports too.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.tui.looking import looking
from tests.tui.pictures import SCREENS, draw

FOLDER = Path(__file__).parent / "snapshots"
SIZES = ((80, 24), (120, 40), (200, 60))


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_every_screen_looks_as_it_was_kept(size: tuple[int, int], theme: str) -> None:
    different = []
    async with looking("exchange", size=size, theme=theme) as (pilot, _):
        for screen in SCREENS:
            now = await draw(pilot, screen)
            path = FOLDER / f"{screen}-{size[0]}x{size[1]}-{theme}.svg"
            if os.environ.get("UPDATE_SNAPSHOTS"):
                FOLDER.mkdir(exist_ok=True)
                path.write_text(now)
            if not path.exists() or path.read_text() != now:
                different.append(path.name)
    assert not different, "look at these after UPDATE_SNAPSHOTS=1, then keep them or mend the screen"
