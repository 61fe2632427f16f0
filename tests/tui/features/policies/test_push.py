"""A push in waves on the screen of revisions: shown, paused, aborted after a preview."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from textual.widgets import Input

from meshwright.control_plane.api.models.push import Push, PushReport
from meshwright.tui.dialogs.confirm_change import ConfirmChange
from tests.fakes.admin_server import FakeMesh
from tests.tui.features.policies.test_screens import newest, on_policies, sheet
from tests.tui.pilot import screen_text, wait_for_text, wait_until

FIGURES = "orders: 2 of 400 (0.5%) failed, 3 of 900 (0.3%) on the others"


def stage(mesh: FakeMesh, **push: Any) -> None:
    """Make the newest revision one that is on trial."""
    revision = mesh.store.revisions[-1]
    number = newest(mesh).revision
    report = PushReport(newest=number, stable=number - 1, push=Push(revision=number, **push))
    mesh.push.report = report
    mesh.status = mesh.status.model_copy(update={"push": report})
    info = revision.info.model_copy(update={"on_trial": True})
    mesh.store.revisions[-1] = replace(revision, info=info)


async def test_a_push_in_waves_is_shown_paused_and_aborted(tmp_path: Path) -> None:
    async with on_policies(tmp_path) as (pilot, mesh):
        admitted = ("orders/orders-2", "web/web-1")
        stage(mesh, wave=2, phase="watch", admitted=admitted, size=1, affected=9, figures=FIGURES, since=1.0)
        await pilot.press("H")
        await wait_for_text(pilot, "revision 3 on trial, 2 in force: wave 2, 2 of 9 proxies, watching for ")
        await wait_for_text(pilot, "proxies, the newest wave first: web-1, orders-2")
        await wait_for_text(pilot, FIGURES)
        await wait_for_text(pilot, "◊ wave 2, 2/9")
        await wait_for_text(pilot, "on trial: reason 3")
        await pilot.press("Z")
        await wait_until(pilot, lambda: [push.state for push in mesh.push.saved] == ["paused"])
        await pilot.press("A")
        dialog = await sheet(pilot, ConfirmChange)
        assert "Withdraw revision 3, and restore 2?" in screen_text(pilot)
        dialog.query_one(Input).value = "too slow"
        await pilot.press("y")
        await wait_until(pilot, lambda: mesh.push.withdrawn == ["aborted by me@test: too slow"])


async def test_without_a_push_there_is_nothing_to_hold_or_abort(tmp_path: Path) -> None:
    async with on_policies(tmp_path) as (pilot, mesh):
        await pilot.press("H")
        await wait_for_text(pilot, "B roll back")
        assert "abort" not in screen_text(pilot) and "hold, resume" not in screen_text(pilot)
        stage(mesh, wave=2, phase="watch", admitted=("orders/orders-2",), affected=9)
        await wait_for_text(pilot, "Z hold, resume", "A abort")


async def test_a_revision_in_force_is_shown_as_watched(tmp_path: Path) -> None:
    async with on_policies(tmp_path) as (pilot, mesh):
        stage(mesh, wave=2, phase="after", admitted=("orders/orders-2",), affected=1, restores=1)
        report = mesh.push.report.model_copy(update={"stable": mesh.push.report.newest})
        mesh.push.report = report
        mesh.status = mesh.status.model_copy(update={"push": report})
        await pilot.press("H")
        await wait_for_text(pilot, "revision 3 in force, still watched")
        await wait_for_text(pilot, "◊ watched")
        await pilot.press("A")
        await sheet(pilot, ConfirmChange)
        assert "Withdraw revision 3, and restore 1?" in screen_text(pilot)
