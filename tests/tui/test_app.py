"""The dashboard as a whole: keys, figures, navigation, odd meshes and terminal sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.cells import cell_len
from textual.widgets import Input, OptionList

from meshwright.control_plane.api.models.proxies import ProxyStatus
from meshwright.tui.format import format_failure_percent, format_number
from meshwright.tui.mesh_state import mesh_totals
from meshwright.tui.navigation import (
    ExplainLocation,
    LogsLocation,
    ServiceLocation,
    TabLocation,
    TracesLocation,
)
from meshwright.tui.session import session_of
from tests.fakes.scenarios import exchange
from tests.tui.pilot import (
    Dashboard,
    open_dashboard,
    screen_text,
    wait_for_text,
    wait_until,
)
from tests.tui.steps import LOCATIONS, current_location, open_services, press, wait_for_location


async def test_the_dashboard_is_read_only_while_its_token_is() -> None:
    async with open_dashboard(size=(120, 40)) as (pilot, api):
        await press(pilot, "4")
        await wait_until(pilot, lambda: "roll back" in screen_text(pilot).splitlines()[-1])
        assert "read only" not in screen_text(pilot)
        api.mesh = replace(api.mesh, rights="read")
        await wait_until(pilot, lambda: "roll back" not in screen_text(pilot).splitlines()[-1])
        await wait_until(pilot, lambda: screen_text(pilot).splitlines()[1].endswith("read only"))
        api.mesh = replace(api.mesh, rights="all")
        await wait_until(pilot, lambda: "roll back" in screen_text(pilot).splitlines()[-1])
        await wait_until(pilot, lambda: "read only" not in screen_text(pilot))


async def test_the_header_shows_the_figures_of_the_api() -> None:
    async with open_dashboard(size=(120, 40)) as (pilot, api):
        seen = mesh_totals(api.mesh.topology)
        head = screen_text(pilot).splitlines()[0]
        assert f"local:{api.port}" in head
        assert "rev 41  ● synced 10/10" in head
        assert f"{format_number(seen.rps)} rps" in head
        assert f"{format_failure_percent(seen.errors)} % err" in head
        assert "p99 210 ms" in head
        assert head.endswith("14:32:07")


async def test_a_rejected_revision_shows_in_the_header() -> None:
    async with open_dashboard() as (pilot, api):
        refused = api.mesh.proxies[0].model_copy(update={"state": "rejected", "error": "no"})
        api.mesh = replace(api.mesh, proxies=(refused, *api.mesh.proxies[1:]))
        assert ProxyStatus(name="x", service="x", state="rejected", revision=1)
        await wait_until(pilot, lambda: "× rejected 1/10" in screen_text(pilot))


async def test_number_keys_open_tabs_and_return_to_their_first_screen() -> None:
    async with open_dashboard() as (pilot, _):
        for number, location in enumerate(LOCATIONS, start=1):
            await press(pilot, str(number))
            await wait_for_location(pilot, location)
        table = await open_services(pilot)
        await press(pilot, "enter")
        await wait_for_location(pilot, ServiceLocation(table.rows[0].key))
        await press(pilot, "2")
        await wait_for_location(pilot, TabLocation("services"))


async def test_go_to_opens_a_service_by_name() -> None:
    async with open_dashboard() as (pilot, _):
        await press(pilot, "colon")
        await wait_until(pilot, lambda: isinstance(pilot.app.focused, Input))
        await press(pilot, *"inv")
        await wait_until(pilot, lambda: "inventory" in first(pilot))
        await press(pilot, "down", "up", "enter")
        await wait_for_location(pilot, ServiceLocation("inventory"))
        await press(pilot, "escape")
        await wait_for_location(pilot, TabLocation("topology"))


def first(pilot: Dashboard) -> str:
    """The first of what can be chosen from; empty when there is none."""
    for options in pilot.app.screen.query(OptionList):
        return str(options.get_option_at_index(0).prompt) if options.option_count else ""
    return ""


async def test_help_lists_the_keys_of_the_screen_and_esc_closes_it() -> None:
    async with open_dashboard(size=(80, 24)) as (pilot, _):
        await open_services(pilot)
        await press(pilot, "question_mark")
        await wait_for_text(pilot, "sort", "● healthy")
        await press(pilot, "escape")
        await wait_for_location(pilot, TabLocation("services"))


async def test_the_command_palette_has_the_keys_of_the_screen() -> None:
    async with open_dashboard() as (pilot, _):
        await open_services(pilot)
        await pilot.press("ctrl+p")
        await wait_for_text(pilot, "sort", "key T")
        await pilot.press(*"logs")
        await wait_until(pilot, lambda: "key <" not in screen_text(pilot))
        await wait_for_text(pilot, "key l")
        await pilot.press("down", "enter")
        await wait_for_location(pilot, LogsLocation("inventory"))


async def test_the_command_palette_switches_the_theme() -> None:
    async with open_dashboard() as (pilot, _):
        await press(pilot, "ctrl+p")
        await wait_until(pilot, lambda: isinstance(pilot.app.focused, Input))
        await press(pilot, *"contrast")
        await wait_until(pilot, lambda: "theme contrast" in first(pilot) and highlighted(pilot))
        await press(pilot, "enter")
        await wait_until(pilot, lambda: pilot.app.theme == "mesh-contrast")


async def test_the_command_palette_switches_to_another_context() -> None:
    async with open_dashboard() as (pilot, _):
        pilot.app.contexts = ("shop", "staging")  # type: ignore[attr-defined]
        await press(pilot, "ctrl+p")
        await wait_until(pilot, lambda: isinstance(pilot.app.focused, Input))
        await press(pilot, *"mesh stag")
        await wait_until(pilot, lambda: "mesh staging" in first(pilot) and highlighted(pilot))
        await press(pilot, "enter")
        await wait_until(pilot, lambda: pilot.app.next_context == "staging")  # type: ignore[attr-defined]


def highlighted(pilot: Dashboard) -> bool:
    """Whether Enter chooses the first."""
    return any(options.highlighted == 0 for options in pilot.app.screen.query(OptionList))


async def resized(pilot: Dashboard, size: tuple[int, int]) -> None:
    """Another size of the terminal, filled from edge to edge and no further."""

    def filled() -> bool:
        strips = pilot.app.screen._compositor.render_strips()
        return (max(cell_len(strip.text) for strip in strips), len(strips)) == size

    await pilot.resize_terminal(*size)
    await wait_until(pilot, filled)


@pytest.mark.parametrize("scenario", ["exchange", "empty", "one", "bad", "many"])
async def test_every_screen_works_in_odd_meshes_and_terminal_sizes(scenario: str) -> None:
    async with open_dashboard(scenario, size=(120, 40)) as (pilot, _):
        for key in ("1", "2", "3", "4", "5", "6"):
            await press(pilot, key, "enter")
            for size in ((40, 10), (21, 6), (200, 60), (80, 24)):
                await resized(pilot, size)
            await press(pilot, "escape")


@pytest.mark.parametrize(
    ("key", "hint"),
    [("2", "mesh run"), ("5", "mesh run"), ("6", "apply a policy")],
)
async def test_an_empty_screen_says_what_to_do(key: str, hint: str) -> None:
    async with open_dashboard("empty", size=(80, 24)) as (pilot, _):
        await press(pilot, key)
        await wait_until(pilot, lambda: hint in screen_text(pilot))


async def test_without_colour_symbols_and_words_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with open_dashboard() as (pilot, _):
        await open_services(pilot)
        assert "× inventory" in screen_text(pilot)
        assert "unhealthy" in screen_text(pilot)
        strips = pilot.app.screen._compositor.render_strips()
        colours = {s.style.color.triplet for strip in strips for s in strip if s.style and s.style.color}
        seen = {(c.red, c.green, c.blue) for c in colours if c}
        assert all(max(c) - min(c) <= 2 for c in seen), "only greys"


async def test_a_click_in_the_footer_presses_the_key() -> None:
    async with open_dashboard(size=(120, 40)) as (pilot, _):
        await open_services(pilot)
        await wait_until(pilot, lambda: "t traces" in screen_text(pilot).splitlines()[-1])
        footer = screen_text(pilot).splitlines()[-1]
        await pilot.click("KeyFooter", offset=(footer.index("t traces"), 0))
        await wait_for_location(pilot, TracesLocation("inventory"))


async def test_a_click_on_a_tab_opens_it() -> None:
    async with open_dashboard() as (pilot, _):
        await pilot.click("#tabs", offset=(16, 0))
        await wait_until(pilot, lambda: current_location(pilot) == TabLocation("services"))


def test_scenarios_are_deterministic() -> None:
    assert exchange() == exchange()


async def test_the_tab_bar_shows_the_tab_that_a_screen_was_opened_from() -> None:
    async with open_dashboard(size=(120, 40)) as (pilot, _):
        session = session_of(pilot.app.screen)
        session.go(ExplainLocation("inventory", "orders"))
        await wait_for_location(pilot, ExplainLocation("inventory", "orders"))
        await wait_for_text(pilot, "[1 Topology] 2 Services", "Topology › explain")
        await press(pilot, "escape", "2")
        await wait_for_location(pilot, TabLocation("services"))
        await wait_for_text(pilot, "1 Topology [2 Services]")
        session.go(TracesLocation("inventory"))
        await wait_for_location(pilot, TracesLocation("inventory"))
        await wait_for_text(pilot, "[2 Services] 3 Traces", "Services › traces of inventory")
