"""The dashboard as a whole: keys, figures, navigation, an outage, odd meshes and terminal sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.cells import cell_len
from textual.widgets import Input, OptionList

from meshwright.control_plane.api.models.proxies import ProxyStatus
from meshwright.tui.app import DashboardApp
from meshwright.tui.features.sidecars.config_view import ConfigTree
from meshwright.tui.format import format_failure_percent, format_latency, format_number, format_percent
from meshwright.tui.mesh_state import mesh_totals
from meshwright.tui.navigation import (
    TABS,
    EdgeLocation,
    Location,
    PolicyLocation,
    ProxyLocation,
    ServiceLocation,
    TabLocation,
    TraceLocation,
    TracesLocation,
)
from meshwright.tui.screen import MeshScreen
from meshwright.tui.widgets.table import Table
from tests.fakes.admin_api import FakeAdminApi
from tests.fakes.scenarios import exchange
from tests.tui.pilot import (
    Dashboard,
    open_dashboard,
    screen_text,
    type_search,
    wait_for_table,
    wait_for_text,
    wait_until,
)

LOCATIONS: tuple[Location, ...] = tuple(TabLocation(name) for name in TABS)


def place(pilot: Dashboard) -> Location | None:
    """What is shown; None while a sheet lies over it."""
    screen = pilot.app.screen
    return screen.location if isinstance(screen, MeshScreen) else None


async def at(pilot: Dashboard, wanted: Location) -> None:
    """Wait until a place is shown."""
    await wait_until(pilot, lambda: place(pilot) == wanted)


async def press(pilot: Dashboard, *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await pilot.pause()


async def services(pilot: Dashboard) -> Table:
    """The table of services with its rows."""
    await press(pilot, "2")
    await at(pilot, TabLocation("services"))
    return await wait_for_table(pilot)


async def opened(pilot: Dashboard) -> None:
    """The worst service in detail, with its instances."""
    await services(pilot)
    await press(pilot, "enter")
    await at(pilot, ServiceLocation("inventory"))
    await wait_for_table(pilot)


async def test_it_is_read_only_while_its_token_is() -> None:
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


async def test_the_head_tells_the_mesh_as_the_api_does() -> None:
    async with open_dashboard(size=(120, 40)) as (pilot, api):
        seen = mesh_totals(api.mesh.topology)
        head = screen_text(pilot).splitlines()[0]
        assert f"local:{api.port}" in head
        assert "rev 41  ● synced 10/10" in head
        assert f"{format_number(seen.rps)} rps" in head
        assert f"{format_failure_percent(seen.errors)} % err" in head
        assert "p99 210 ms" in head
        assert head.endswith("14:32:07")


async def test_a_refused_revision_shows_in_the_head() -> None:
    async with open_dashboard() as (pilot, api):
        refused = api.mesh.proxies[0].model_copy(update={"state": "rejected", "error": "no"})
        api.mesh = replace(api.mesh, proxies=(refused, *api.mesh.proxies[1:]))
        assert ProxyStatus(name="x", service="x", state="rejected", revision=1)
        await wait_until(pilot, lambda: "✖ rejected 1/10" in screen_text(pilot))


async def test_every_screen_by_its_number_and_back_to_its_start() -> None:
    async with open_dashboard() as (pilot, _):
        for number, wanted in enumerate(LOCATIONS, start=1):
            await press(pilot, str(number))
            await at(pilot, wanted)
        table = await services(pilot)
        await press(pilot, "enter")
        await at(pilot, ServiceLocation(table.rows[0].key))
        await press(pilot, "2")
        await at(pilot, TabLocation("services"))


async def test_figures_on_screen_are_those_of_the_api() -> None:
    async with open_dashboard(size=(200, 60)) as (pilot, api):
        table = await services(pilot)
        assert [row.key for row in table.rows][:2] == ["inventory", "orders"]
        lines = {
            line.split()[1]: line for line in screen_text(pilot).splitlines()[4:] if len(line.split()) > 5
        }
        for row in api.mesh.services.services:
            line = lines[row.name]
            for figure in (
                format_number(row.rps),
                format_latency(row.p50_ms),
                format_latency(row.p99_ms),
            ):
                assert figure in line.split()
            if row.role == "service":
                assert f"{row.healthy}/{row.instances}" in line
            if row.rps:
                assert format_percent(row.success) in line.split()
        assert "⊘ open" in lines["inventory"]


async def test_figures_follow_and_the_cursor_stays_on_its_service() -> None:
    async with open_dashboard() as (pilot, api):
        table = await services(pilot)
        await press(pilot, "down")
        await wait_until(pilot, lambda: table.selected_key == "orders")
        rows = [
            row.model_copy(update={"health": "healthy", "success": 1.0, "rps": 77.7})
            if row.name == "inventory"
            else row
            for row in api.mesh.services.services
        ]
        api.mesh = replace(api.mesh, services=api.mesh.services.model_copy(update={"services": tuple(rows)}))
        await wait_until(pilot, lambda: "77.7" in screen_text(pilot))
        assert table.selected_key == "orders"


async def test_sorting_by_keys_and_by_a_click_on_a_head() -> None:
    async with open_dashboard(size=(120, 40)) as (pilot, _):
        table = await services(pilot)
        await press(pilot, "s", "s")
        await wait_until(pilot, lambda: table.rows[0].key == "ingress")
        await press(pilot, "r")
        await wait_until(pilot, lambda: table.rows[0].key == "warehouse")
        await pilot.click(Table, offset=(5, 0))
        await wait_until(
            pilot, lambda: [row.key for row in table.rows] == sorted(row.key for row in table.rows)
        )


async def test_a_search_narrows_and_esc_ends_it() -> None:
    async with open_dashboard() as (pilot, _):
        table = await services(pilot)
        await type_search(pilot, "inv")
        await wait_until(pilot, lambda: [row.key for row in table.rows] == ["inventory"])
        await press(pilot, "enter")
        await wait_until(pilot, lambda: table.has_focus)
        await press(pilot, "enter")
        await at(pilot, ServiceLocation("inventory"))
        await press(pilot, "escape")
        await at(pilot, TabLocation("services"))
        await press(pilot, "escape")
        await wait_until(pilot, lambda: len(table.rows) > 1)
        assert place(pilot) == TabLocation("services")


async def test_a_search_without_a_match_says_so() -> None:
    async with open_dashboard() as (pilot, _):
        await services(pilot)
        await type_search(pilot, "zzz")
        await wait_for_text(pilot, "no service has such a name")


async def test_a_service_shows_all_that_concerns_it_and_leads_on() -> None:
    async with open_dashboard(size=(160, 50)) as (pilot, _):
        await opened(pilot)
        await wait_for_text(
            pilot,
            "POST /api/orders",
            "inventory-2", "unhealthy", "←", "CircuitBreaker inventory-limits", "programmed",
            "the circuit breaker opened", "▲41", "Services › inventory",
        )  # fmt: skip
        ways: tuple[tuple[int, Location], ...] = (
            (0, ProxyLocation("inventory-1")),
            (1, EdgeLocation("orders", "inventory")),
            (2, PolicyLocation("CircuitBreaker", "inventory-limits")),
            (1, TraceLocation("3f9a" + "1" * 28)),
        )
        for tabs, there in ways:
            await press(pilot, *["tab"] * tabs, "enter")
            await at(pilot, there)
            await press(pilot, "escape")
            await wait_until(pilot, lambda: place(pilot) == ServiceLocation("inventory"))


async def test_a_service_that_left_says_so() -> None:
    async with open_dashboard() as (pilot, api):
        await opened(pilot)
        kept = tuple(row for row in api.mesh.services.services if row.name != "inventory")
        api.mesh = replace(api.mesh, services=api.mesh.services.model_copy(update={"services": kept}))
        await wait_until(pilot, lambda: "is not in the mesh, or no longer" in screen_text(pilot))


async def test_a_jump_by_name() -> None:
    async with open_dashboard() as (pilot, _):
        await press(pilot, "colon")
        await wait_until(pilot, lambda: isinstance(pilot.app.focused, Input))
        await press(pilot, *"inv")
        await wait_until(pilot, lambda: "inventory" in first(pilot))
        await press(pilot, "down", "up", "enter")
        await at(pilot, ServiceLocation("inventory"))
        await press(pilot, "escape")
        await at(pilot, TabLocation("topology"))


def first(pilot: Dashboard) -> str:
    """The first of what can be chosen from; empty when there is none."""
    for options in pilot.app.screen.query(OptionList):
        return str(options.get_option_at_index(0).prompt) if options.option_count else ""
    return ""


async def test_help_names_the_keys_of_the_screen_and_esc_closes_it() -> None:
    async with open_dashboard(size=(80, 24)) as (pilot, _):
        await services(pilot)
        await press(pilot, "question_mark")
        await wait_for_text(pilot, "sort by next", "● healthy")
        await press(pilot, "escape")
        await at(pilot, TabLocation("services"))


async def test_the_palette_knows_themes_and_places() -> None:
    async with open_dashboard() as (pilot, _):
        await press(pilot, "ctrl+p")
        await wait_until(pilot, lambda: isinstance(pilot.app.focused, Input))
        await press(pilot, *"contrast")
        await wait_until(pilot, lambda: "theme contrast" in first(pilot) and highlighted(pilot))
        await press(pilot, "enter")
        await wait_until(pilot, lambda: pilot.app.theme == "mesh-contrast")


def highlighted(pilot: Dashboard) -> bool:
    """Whether Enter chooses the first."""
    return any(options.highlighted == 0 for options in pilot.app.screen.query(OptionList))


async def test_the_configuration_of_a_sidecar_unfolds_and_is_searched() -> None:
    async with open_dashboard(size=(120, 40)) as (pilot, _):
        await press(pilot, "5")
        await at(pilot, TabLocation("sidecars"))
        await wait_for_table(pilot)
        await press(pilot, "enter")
        await wait_for_text(pilot, "▶ clusters")
        tree = pilot.app.screen.query_one(ConfigTree)
        await wait_until(pilot, lambda: tree.has_focus)
        await press(pilot, "enter")
        await wait_for_text(pilot, "dynamic_active_clusters")
        await type_search(pilot, "15006")
        await wait_for_text(pilot, "port: 15006", "1 match")
        await press(pilot, "escape")
        await wait_until(pilot, lambda: len(tree.root.children) == 3)


async def test_what_an_envoy_refuses_stands_in_its_words() -> None:
    async with open_dashboard("bad", size=(120, 40)) as (pilot, _):
        await press(pilot, "5")
        await at(pilot, TabLocation("sidecars"))
        await wait_for_table(pilot)
        await press(pilot, "enter")
        await wait_until(
            pilot,
            lambda: "rejects Proto constraint validation failed: [bold]Wörter 語句" in screen_text(pilot),
        )


async def test_away_is_told_in_words_and_the_dashboard_comes_back_by_itself() -> None:
    async with open_dashboard(size=(100, 30)) as (pilot, api):
        table = await services(pilot)
        await api.stop()
        await wait_until(pilot, lambda: "control plane unreachable since" in screen_text(pilot))
        assert "stale" in screen_text(pilot).splitlines()[0]
        assert table.rows, "the last picture stays"
        api.mesh = replace(api.mesh, revision=42)
        await api.start()
        await wait_until(
            pilot, lambda: "rev 42" in screen_text(pilot) and "unreachable" not in screen_text(pilot)
        )


async def test_started_before_the_control_plane_it_waits() -> None:
    async with open_dashboard() as (_, api):
        await api.stop()
        app = DashboardApp(lambda: api.endpoint)
        async with app.run_test(size=(100, 30)) as pilot:
            await wait_until(pilot, lambda: "control plane unreachable" in screen_text(pilot))
            await api.start()
            await wait_until(pilot, lambda: "rev 41" in screen_text(pilot))


async def test_a_control_plane_that_does_not_answer_holds_no_key_up() -> None:
    async with open_dashboard() as (pilot, api):
        api.delay = 3600
        for number, wanted in enumerate(LOCATIONS, start=1):
            await press(pilot, str(number))
            await at(pilot, wanted)
        await press(pilot, "question_mark")
        await wait_until(pilot, lambda: "help: Events" in screen_text(pilot))


async def test_only_what_the_screen_needs_is_asked_for() -> None:
    async with open_dashboard() as (pilot, api):
        await press(pilot, "6")
        await at(pilot, TabLocation("events"))
        await wait_until(pilot, lambda: api.event_queues)
        api.requests.clear()
        await wait_until(pilot, lambda: rounds(api) >= 2)
        api.requests.clear()  # with what was still under way for the screen before
        await wait_until(pilot, lambda: rounds(api) >= 3)
        assert {path.split("?")[0].rsplit("/", 1)[1] for path in api.requests} <= {"status", "topology"}


def rounds(api: FakeAdminApi) -> int:
    """How often the topology was asked for."""
    return sum(path.endswith("/topology") for path in api.requests)


async def test_policies_are_asked_for_again_when_the_revision_changes() -> None:
    async with open_dashboard() as (pilot, api):
        await press(pilot, "4")
        await wait_until(pilot, lambda: "/api/v1/policies" in api.requests)
        api.requests.clear()
        api.mesh = replace(api.mesh, revision=42)
        await wait_until(pilot, lambda: "/api/v1/policies" in api.requests)


async def resized(pilot: Dashboard, size: tuple[int, int]) -> None:
    """Another size of the terminal, filled from edge to edge and no further."""

    def filled() -> bool:
        strips = pilot.app.screen._compositor.render_strips()
        return (max(cell_len(strip.text) for strip in strips), len(strips)) == size

    await pilot.resize_terminal(*size)
    await wait_until(pilot, filled)


@pytest.mark.parametrize("scenario", ["exchange", "empty", "one", "bad", "many"])
async def test_no_world_and_no_size_is_too_odd(scenario: str) -> None:
    async with open_dashboard(scenario, size=(120, 40)) as (pilot, _):
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
    async with open_dashboard("empty", size=(80, 24)) as (pilot, _):
        await press(pilot, key)
        await wait_until(pilot, lambda: said in screen_text(pilot))


async def test_without_colour_signs_and_words_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with open_dashboard() as (pilot, _):
        await services(pilot)
        assert "✖ inventory" in screen_text(pilot)
        assert "unhealthy" in screen_text(pilot)
        strips = pilot.app.screen._compositor.render_strips()
        colours = {s.style.color.triplet for strip in strips for s in strip if s.style and s.style.color}
        seen = {(c.red, c.green, c.blue) for c in colours if c}
        assert all(max(c) - min(c) <= 2 for c in seen), "only greys"


async def test_a_click_puts_the_cursor_and_a_second_one_opens() -> None:
    async with open_dashboard() as (pilot, _):
        table = await services(pilot)
        await pilot.click(Table, offset=(5, 2))
        await wait_until(pilot, lambda: table.selected_key == table.rows[1].key)
        await pilot.click(Table, offset=(5, 2))
        await wait_until(pilot, lambda: place(pilot) == ServiceLocation("orders"))


async def test_a_click_on_a_key_of_the_footer_is_that_key() -> None:
    async with open_dashboard(size=(120, 40)) as (pilot, _):
        await services(pilot)
        await wait_until(pilot, lambda: "t traces" in screen_text(pilot).splitlines()[-1])
        footer = screen_text(pilot).splitlines()[-1]
        await pilot.click("KeyFooter", offset=(footer.index("t traces"), 0))
        await at(pilot, TracesLocation("inventory"))


async def test_a_tab_is_chosen_by_a_click() -> None:
    async with open_dashboard() as (pilot, _):
        await pilot.click("#tabs", offset=(16, 0))
        await wait_until(pilot, lambda: place(pilot) == TabLocation("services"))


def test_the_scenarios_are_the_same_each_time() -> None:
    assert exchange() == exchange()
