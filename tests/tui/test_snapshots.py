"""Snapshots of every screen at three sizes, dark and light.

`UPDATE_SNAPSHOTS=1 pytest tests/tui/test_snapshots.py` writes them to `snapshots/`: look at them (any browser
shows SVG) before you commit them. All of their data is made up and constant, time and ports too.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from meshwright.control_plane.api.models.push import Push, PushReport
from tests.fakes.mesh_fixture import NOW
from tests.tui.pilot import open_dashboard, wait_for_text
from tests.tui.screenshots import SCREENS, screenshot

FOLDER = Path(__file__).parent / "snapshots"
ADVICE = "inspect these after UPDATE_SNAPSHOTS=1, then commit them or fix the screen"
SIZES = ((80, 24), (120, 40), (200, 60))


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_every_screen_equals_its_snapshot(size: tuple[int, int], theme: str) -> None:
    different = []
    async with open_dashboard("exchange", size=size, theme=theme) as (pilot, _):
        for screen in (name for name in SCREENS if name not in {"push", "explain"}):
            name = f"{screen}-{size[0]}x{size[1]}-{theme}.svg"
            if not equals_snapshot(name, await screenshot(pilot, screen)):
                different.append(name)
    assert not different, ADVICE


async def test_twelve_services_and_their_rates_fit_into_80x24() -> None:
    async with open_dashboard("shop", size=(80, 24)) as (pilot, _):
        assert equals_snapshot("twelve-80x24-dark.svg", await screenshot(pilot, "topology")), ADVICE


async def test_a_push_in_waves_equals_its_snapshot() -> None:
    async with open_dashboard("exchange") as (pilot, api):
        newest, before, *others = api.mesh.revisions
        number = newest.revision
        push = Push(
            revision=number,
            wave=2,
            phase="watch",
            since=NOW - 4,
            admitted=("orders/orders-1", "users/users-1", "users/users-2"),
            size=1,
            affected=9,
            figures="orders: 2 of 400 (0.5%) failed, 3 of 900 (0.3%) on the others",
        )
        withdrawn = before.model_copy(
            update={"withdrawn": "orders-1 of orders dropped off 3 s ago, in wave 1"}
        )
        api.mesh = replace(
            api.mesh,
            revisions=(newest.model_copy(update={"on_trial": True}), withdrawn, *others),
            push=PushReport(newest=number, stable=number - 1, push=push),
        )
        await wait_for_text(pilot, "wave 2, 3/9")
        assert equals_snapshot("push-120x40-dark.svg", await screenshot(pilot, "push")), ADVICE


async def test_an_explained_request_equals_its_snapshot() -> None:
    async with open_dashboard("exchange", size=(80, 24)) as (pilot, _):
        assert equals_snapshot("explain-80x24-dark.svg", await screenshot(pilot, "explain")), ADVICE


def equals_snapshot(name: str, picture: str) -> bool:
    """Whether a screenshot equals its snapshot."""
    path = FOLDER / name
    if os.environ.get("UPDATE_SNAPSHOTS"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(picture)
    return path.exists() and path.read_text() == picture
