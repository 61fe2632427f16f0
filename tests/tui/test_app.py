"""The dashboard as a whole: keys, figures, places, the control plane away and back, odd worlds and sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.cells import cell_len
from textual.widgets import Input, OptionList

from control_plane.api.types import ProxyStatus
from tests.fakes.admin_api import FakeAdmin
from tests.fakes.admin_world import exchange
from tests.tui.looking import Dashboard, listed, looking, reads, search, text, until
from tui import words
from tui.app import Dash
from tui.picture import whole
from tui.places import Edge, Place, Policy, Proxy, Service, Tab, Trace, Traces
from tui.screens.base import MeshScreen
from tui.widgets.config import ConfigTree
from tui.widgets.table import Table

PLACES: tuple[Place, ...] = (
    Tab("topology"), Tab("services"), Tab("traces"), Tab("policies"), Tab("sidecars"), Tab("events"),
)  # fmt: skip


def place(pilot: Dashboard) -> Place | None:
    """What is shown; None while a sheet lies over it."""
    screen = pilot.app.screen
    return screen.place if isinstance(screen, MeshScreen) else None


async def at(pilot: Dashboard, wanted: Place) -> None:
    """Wait until a place is shown."""
    await until(pilot, lambda: place(pilot) == wanted)


async def press(pilot: Dashboard, *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await pilot.pause()


async def services(pilot: Dashboard) -> Table:
    """The table of services with its rows."""
    await press(pilot, "2")
    await at(pilot, Tab("services"))
    return await listed(pilot)


async def opened(pilot: Dashboard) -> None:
    """The worst service in detail, with its instances."""
    await services(pilot)
    await press(pilot, "enter")
    await at(pilot, Service("inventory"))
    await listed(pilot)


async def test_it_is_read_only_while_its_token_is() -> None:
    async with looking(size=(120, 40)) as (pilot, api):
        await press(pilot, "4")
        await until(pilot, lambda: "roll back" in text(pilot).splitlines()[-1])
        assert "read only" not in text(pilot)
        api.world = replace(api.world, rights="read")
        await until(pilot, lambda: "roll back" not in text(pilot).splitlines()[-1])
        await until(pilot, lambda: text(pilot).splitlines()[1].endswith("read only"))
        api.world = replace(api.world, rights="all")
        await until(pilot, lambda: "roll back" in text(pilot).splitlines()[-1])
        await until(pilot, lambda: "read only" not in text(pilot))


async def test_the_head_tells_the_mesh_as_the_api_does() -> None:
    async with looking(size=(120, 40)) as (pilot, api):
        seen = whole(api.world.topology)
        head = text(pilot).splitlines()[0]
        assert f"local:{api.port}" in head
        assert "rev 41  ● synced 10/10" in head
        assert f"{words.three(seen.rps)} rps" in head
        assert f"{words.failing(seen.errors)} % err" in head
        assert "p99 210 ms" in head
        assert head.endswith("14:32:07")


async def test_a_refused_revision_shows_in_the_head() -> None:
    async with looking() as (pilot, api):
        refused = api.world.proxies[0].model_copy(update={"state": "rejected", "error": "no"})
        api.world = replace(api.world, proxies=(refused, *api.world.proxies[1:]))
        assert ProxyStatus(name="x", service="x", state="rejected", revision=1)
        await until(pilot, lambda: "✖ rejected 1/10" in text(pilot))


async def test_every_screen_by_its_number_and_back_to_its_start() -> None:
    async with looking() as (pilot, _):
        for number, wanted in enumerate(PLACES, start=1):
            await press(pilot, str(number))
            await at(pilot, wanted)
        table = await services(pilot)
        await press(pilot, "enter")
        await at(pilot, Service(table.rows[0].key))
        await press(pilot, "2")
        await at(pilot, Tab("services"))


async def test_figures_on_screen_are_those_of_the_api() -> None:
    async with looking(size=(200, 60)) as (pilot, api):
        table = await services(pilot)
        assert [row.key for row in table.rows][:2] == ["inventory", "orders"]
        lines = {line.split()[1]: line for line in text(pilot).splitlines()[4:] if len(line.split()) > 5}
        for row in api.world.services.services:
            line = lines[row.name]
            for figure in (words.three(row.rps), words.latency(row.p50_ms), words.latency(row.p99_ms)):
                assert figure in line.split()
            if row.role == "service":
                assert f"{row.healthy}/{row.instances}" in line
            if row.rps:
                assert words.share(row.success) in line.split()
        assert "⏻ open" in lines["inventory"]


async def test_figures_follow_and_the_cursor_stays_on_its_service() -> None:
    async with looking() as (pilot, api):
        table = await services(pilot)
        await press(pilot, "down")
        await until(pilot, lambda: table.chosen == "orders")
        rows = [
            row.model_copy(update={"health": "healthy", "success": 1.0, "rps": 77.7})
            if row.name == "inventory"
            else row
            for row in api.world.services.services
        ]
        api.world = replace(
            api.world, services=api.world.services.model_copy(update={"services": tuple(rows)})
        )
        await until(pilot, lambda: "77.7" in text(pilot))
        assert table.chosen == "orders"


async def test_sorting_by_keys_and_by_a_click_on_a_head() -> None:
    async with looking(size=(120, 40)) as (pilot, _):
        table = await services(pilot)
        await press(pilot, "s", "s")
        await until(pilot, lambda: table.rows[0].key == "ingress")
        await press(pilot, "r")
        await until(pilot, lambda: table.rows[0].key == "warehouse")
        await pilot.click(Table, offset=(5, 0))
        await until(pilot, lambda: [row.key for row in table.rows] == sorted(row.key for row in table.rows))


async def test_a_search_narrows_and_esc_ends_it() -> None:
    async with looking() as (pilot, _):
        table = await services(pilot)
        await search(pilot, "inv")
        await until(pilot, lambda: [row.key for row in table.rows] == ["inventory"])
        await press(pilot, "enter")
        await until(pilot, lambda: table.has_focus)
        await press(pilot, "enter")
        await at(pilot, Service("inventory"))
        await press(pilot, "escape")
        await at(pilot, Tab("services"))
        await press(pilot, "escape")
        await until(pilot, lambda: len(table.rows) > 1)
        assert place(pilot) == Tab("services")


async def test_a_search_without_a_match_says_so() -> None:
    async with looking() as (pilot, _):
        await services(pilot)
        await search(pilot, "zzz")
        await reads(pilot, "no service has such a name")


async def test_a_service_shows_all_that_concerns_it_and_leads_on() -> None:
    async with looking(size=(160, 50)) as (pilot, _):
        await opened(pilot)
        await reads(
            pilot,
            "POST /api/orders",
            "inventory-2", "unhealthy", "←", "CircuitBreaker inventory-limits", "programmed",
            "the circuit breaker opened", "▲41", "Services › inventory",
        )  # fmt: skip
        ways: tuple[tuple[int, Place], ...] = (
            (0, Proxy("inventory-1")),
            (1, Edge("orders", "inventory")),
            (2, Policy("CircuitBreaker", "inventory-limits")),
            (1, Trace("3f9a" + "1" * 28)),
        )
        for tabs, there in ways:
            await press(pilot, *["tab"] * tabs, "enter")
            await at(pilot, there)
            await press(pilot, "escape")
            await until(pilot, lambda: place(pilot) == Service("inventory"))


async def test_a_service_that_left_says_so() -> None:
    async with looking() as (pilot, api):
        await opened(pilot)
        kept = tuple(row for row in api.world.services.services if row.name != "inventory")
        api.world = replace(api.world, services=api.world.services.model_copy(update={"services": kept}))
        await until(pilot, lambda: "is not in the mesh (any more)" in text(pilot))


async def test_a_jump_by_name() -> None:
    async with looking() as (pilot, _):
        await press(pilot, "colon")
        await until(pilot, lambda: isinstance(pilot.app.focused, Input))
        await press(pilot, *"inv")
        await until(pilot, lambda: "inventory" in first(pilot))
        await press(pilot, "down", "up", "enter")
        await at(pilot, Service("inventory"))
        await press(pilot, "escape")
        await at(pilot, Tab("topology"))


def first(pilot: Dashboard) -> str:
    """The first of what can be chosen from; empty when there is none."""
    for options in pilot.app.screen.query(OptionList):
        return str(options.get_option_at_index(0).prompt) if options.option_count else ""
    return ""


async def test_help_names_the_keys_of_the_screen_and_esc_closes_it() -> None:
    async with looking(size=(80, 24)) as (pilot, _):
        await services(pilot)
        await press(pilot, "question_mark")
        await reads(pilot, "sort by next", "● healthy")
        await press(pilot, "escape")
        await at(pilot, Tab("services"))


async def test_the_palette_knows_themes_and_places() -> None:
    async with looking() as (pilot, _):
        await press(pilot, "ctrl+p")
        await until(pilot, lambda: isinstance(pilot.app.focused, Input))
        await press(pilot, *"contrast")
        await until(pilot, lambda: "theme contrast" in first(pilot) and highlighted(pilot))
        await press(pilot, "enter")
        await until(pilot, lambda: pilot.app.theme == "mesh-contrast")


def highlighted(pilot: Dashboard) -> bool:
    """Whether Enter chooses the first."""
    return any(options.highlighted == 0 for options in pilot.app.screen.query(OptionList))


async def test_the_configuration_of_a_sidecar_unfolds_and_is_searched() -> None:
    async with looking(size=(120, 40)) as (pilot, _):
        await press(pilot, "5")
        await at(pilot, Tab("sidecars"))
        await listed(pilot)
        await press(pilot, "enter")
        await reads(pilot, "▶ clusters")
        tree = pilot.app.screen.query_one(ConfigTree)
        await until(pilot, lambda: tree.has_focus)
        await press(pilot, "enter")
        await reads(pilot, "dynamic_active_clusters")
        await search(pilot, "15006")
        await reads(pilot, "port: 15006", "1 place holds")
        await press(pilot, "escape")
        await until(pilot, lambda: len(tree.root.children) == 3)


async def test_what_an_envoy_refuses_stands_in_its_words() -> None:
    async with looking("bad", size=(120, 40)) as (pilot, _):
        await press(pilot, "5")
        await at(pilot, Tab("sidecars"))
        await listed(pilot)
        await press(pilot, "enter")
        await until(
            pilot, lambda: "refuses Proto constraint validation failed: [bold]Wörter 語句" in text(pilot)
        )


async def test_away_is_told_in_words_and_the_dashboard_comes_back_by_itself() -> None:
    async with looking(size=(100, 30)) as (pilot, api):
        table = await services(pilot)
        await api.stop()
        await until(pilot, lambda: "control plane away since" in text(pilot))
        assert "stale" in text(pilot).splitlines()[0]
        assert table.rows, "the last picture stays"
        api.world = replace(api.world, revision=42)
        await api.start()
        await until(pilot, lambda: "rev 42" in text(pilot) and "away" not in text(pilot))


async def test_started_before_the_control_plane_it_waits() -> None:
    async with looking() as (_, api):
        await api.stop()
        app = Dash(lambda: api.endpoint)
        async with app.run_test(size=(100, 30)) as pilot:
            await until(pilot, lambda: "control plane away" in text(pilot))
            await api.start()
            await until(pilot, lambda: "rev 41" in text(pilot))


async def test_a_control_plane_that_does_not_answer_holds_no_key_up() -> None:
    async with looking() as (pilot, api):
        api.delay = 3600
        for number, wanted in enumerate(PLACES, start=1):
            await press(pilot, str(number))
            await at(pilot, wanted)
        await press(pilot, "question_mark")
        await until(pilot, lambda: "help: Events" in text(pilot))


async def test_only_what_the_screen_needs_is_asked_for() -> None:
    async with looking() as (pilot, api):
        await press(pilot, "6")
        await at(pilot, Tab("events"))
        await until(pilot, lambda: api.listeners)
        api.asked.clear()
        await until(pilot, lambda: rounds(api) >= 2)
        api.asked.clear()  # with what was still under way for the screen before
        await until(pilot, lambda: rounds(api) >= 3)
        assert {path.split("?")[0].rsplit("/", 1)[1] for path in api.asked} <= {"status", "topology"}


def rounds(api: FakeAdmin) -> int:
    """How often the topology was asked for."""
    return sum(path.endswith("/topology") for path in api.asked)


async def test_policies_are_asked_for_again_when_the_revision_changes() -> None:
    async with looking() as (pilot, api):
        await opened(pilot)
        await until(pilot, lambda: "/api/v1/policies" in api.asked)
        api.asked.clear()
        api.world = replace(api.world, revision=42)
        await until(pilot, lambda: "/api/v1/policies" in api.asked)


async def resized(pilot: Dashboard, size: tuple[int, int]) -> None:
    """Another size of the terminal, filled from edge to edge and no further."""

    def filled() -> bool:
        strips = pilot.app.screen._compositor.render_strips()
        return (max(cell_len(strip.text) for strip in strips), len(strips)) == size

    await pilot.resize_terminal(*size)
    await until(pilot, filled)


@pytest.mark.parametrize("scenario", ["exchange", "empty", "one", "bad", "many"])
async def test_no_world_and_no_size_is_too_odd(scenario: str) -> None:
    async with looking(scenario, size=(120, 40)) as (pilot, _):
        for key in ("1", "2", "3", "4", "5", "6"):
            await press(pilot, key, "enter")
            for size in ((40, 10), (21, 6), (200, 60), (80, 24)):
                await resized(pilot, size)
            await press(pilot, "escape")


@pytest.mark.parametrize(
    ("key", "said"),
    [("2", "mesh run"), ("5", "mesh run"), ("6", "apply a policy")],
)
async def test_an_empty_screen_says_what_to_do(key: str, said: str) -> None:
    async with looking("empty", size=(80, 24)) as (pilot, _):
        await press(pilot, key)
        await until(pilot, lambda: said in text(pilot))


async def test_without_colour_signs_and_words_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with looking() as (pilot, _):
        await services(pilot)
        assert "✖ inventory" in text(pilot)
        assert "failing" in text(pilot)
        strips = pilot.app.screen._compositor.render_strips()
        colours = {s.style.color.triplet for strip in strips for s in strip if s.style and s.style.color}
        seen = {(c.red, c.green, c.blue) for c in colours if c}
        assert all(max(c) - min(c) <= 2 for c in seen), "only greys"


async def test_a_click_puts_the_cursor_and_a_second_one_opens() -> None:
    async with looking() as (pilot, _):
        table = await services(pilot)
        await pilot.click(Table, offset=(5, 2))
        await until(pilot, lambda: table.chosen == table.rows[1].key)
        await pilot.click(Table, offset=(5, 2))
        await until(pilot, lambda: place(pilot) == Service("orders"))


async def test_a_click_on_a_key_of_the_footer_is_that_key() -> None:
    async with looking(size=(120, 40)) as (pilot, _):
        await services(pilot)
        await until(pilot, lambda: "t traces" in text(pilot).splitlines()[-1])
        footer = text(pilot).splitlines()[-1]
        await pilot.click("Keys", offset=(footer.index("t traces"), 0))
        await at(pilot, Traces("inventory"))


async def test_a_tab_is_chosen_by_a_click() -> None:
    async with looking() as (pilot, _):
        await pilot.click("#tabs", offset=(16, 0))
        await until(pilot, lambda: place(pilot) == Tab("services"))


def test_the_scenarios_are_the_same_each_time() -> None:
    assert exchange() == exchange()
