"""Outages of the control plane, and what is polled."""

from __future__ import annotations

from dataclasses import replace

from meshwright.tui.app import DashboardApp
from meshwright.tui.navigation import (
    TabLocation,
)
from tests.fakes.admin_api import FakeAdminApi
from tests.tui.pilot import (
    open_dashboard,
    screen_text,
    wait_until,
)
from tests.tui.steps import LOCATIONS, open_services, press, wait_for_location


async def test_an_outage_is_shown_and_the_dashboard_recovers() -> None:
    async with open_dashboard(size=(100, 30)) as (pilot, api):
        table = await open_services(pilot)
        await api.stop()
        await wait_until(pilot, lambda: "control plane unreachable since" in screen_text(pilot))
        assert "stale" in screen_text(pilot).splitlines()[0]
        assert table.rows, "the last picture stays"
        api.mesh = replace(api.mesh, revision=42)
        await api.start()
        await wait_until(
            pilot, lambda: "rev 42" in screen_text(pilot) and "unreachable" not in screen_text(pilot)
        )


async def test_a_dashboard_started_before_the_control_plane_waits_for_it() -> None:
    async with open_dashboard() as (_, api):
        await api.stop()
        app = DashboardApp(lambda: api.endpoint)
        async with app.run_test(size=(100, 30)) as pilot:
            await wait_until(pilot, lambda: "control plane unreachable" in screen_text(pilot))
            await api.start()
            await wait_until(pilot, lambda: "rev 41" in screen_text(pilot))


async def test_a_control_plane_that_does_not_respond_blocks_no_key() -> None:
    async with open_dashboard() as (pilot, api):
        api.delay = 3600
        for number, location in enumerate(LOCATIONS, start=1):
            await press(pilot, str(number))
            await wait_for_location(pilot, location)
        await press(pilot, "question_mark")
        await wait_until(pilot, lambda: "help: Events" in screen_text(pilot))


async def test_only_the_fields_of_the_current_screen_are_polled() -> None:
    async with open_dashboard() as (pilot, api):
        await press(pilot, "6")
        await wait_for_location(pilot, TabLocation("events"))
        await wait_until(pilot, lambda: api.event_queues)
        api.requests.clear()
        await wait_until(pilot, lambda: rounds(api) >= 2)
        api.requests.clear()  # with what was still under way for the screen before
        await wait_until(pilot, lambda: rounds(api) >= 3)
        assert {path.split("?")[0].rsplit("/", 1)[1] for path in api.requests} <= {"status", "topology"}


def rounds(api: FakeAdminApi) -> int:
    """How often the topology was asked for."""
    return sum(path.endswith("/topology") for path in api.requests)


async def test_policies_are_fetched_again_when_the_revision_changes() -> None:
    async with open_dashboard() as (pilot, api):
        await press(pilot, "4")
        await wait_until(pilot, lambda: "/api/v1/policies" in api.requests)
        api.requests.clear()
        api.mesh = replace(api.mesh, revision=42)
        await wait_until(pilot, lambda: "/api/v1/policies" in api.requests)
