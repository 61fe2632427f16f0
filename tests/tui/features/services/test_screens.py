"""The service list and a service's details, by keys and mouse."""

from __future__ import annotations

from dataclasses import replace

from meshwright.tui.format import format_latency, format_number, format_percent
from meshwright.tui.navigation import (
    EdgeLocation,
    Location,
    PolicyLocation,
    ProxyLocation,
    ServiceLocation,
    TabLocation,
    TraceLocation,
)
from meshwright.tui.widgets.table import Table
from tests.tui.pilot import (
    open_dashboard,
    screen_text,
    type_search,
    wait_for_text,
    wait_until,
)
from tests.tui.steps import current_location, open_services, open_worst_service, press, wait_for_location


async def test_the_service_table_shows_the_figures_of_the_api() -> None:
    async with open_dashboard(size=(200, 60)) as (pilot, api):
        table = await open_services(pilot)
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
        assert "■ open" in lines["inventory"]


async def test_figures_update_and_the_cursor_stays_on_its_service() -> None:
    async with open_dashboard() as (pilot, api):
        table = await open_services(pilot)
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


async def test_services_are_sorted_by_keys_and_by_a_click_on_a_column_head() -> None:
    async with open_dashboard(size=(120, 40)) as (pilot, _):
        table = await open_services(pilot)
        await press(pilot, "greater_than_sign", "greater_than_sign")
        await wait_until(pilot, lambda: table.rows[0].key == "ingress")
        await press(pilot, "r")
        await wait_until(pilot, lambda: table.rows[0].key == "warehouse")
        await pilot.click(Table, offset=(5, 0))
        await wait_until(
            pilot, lambda: [row.key for row in table.rows] == sorted(row.key for row in table.rows)
        )


async def test_idle_services_are_hidden_until_z_shows_them() -> None:
    async with open_dashboard() as (pilot, api):
        table = await open_services(pilot)
        rows = [
            row.model_copy(update={"health": "idle"}) if row.name == "orders" else row
            for row in api.mesh.services.services
        ]
        api.mesh = replace(api.mesh, services=api.mesh.services.model_copy(update={"services": tuple(rows)}))
        for is_shown in (False, True, False):
            await wait_until(
                pilot,
                lambda: ("orders" in [row.key for row in table.rows]) == is_shown,  # noqa: B023
            )
            await press(pilot, "a")


async def test_a_search_filters_and_esc_ends_it() -> None:
    async with open_dashboard() as (pilot, _):
        table = await open_services(pilot)
        await type_search(pilot, "inv")
        await wait_until(pilot, lambda: [row.key for row in table.rows] == ["inventory"])
        await press(pilot, "enter")
        await wait_until(pilot, lambda: table.has_focus)
        await press(pilot, "enter")
        await wait_for_location(pilot, ServiceLocation("inventory"))
        await press(pilot, "escape")
        await wait_for_location(pilot, TabLocation("services"))
        await press(pilot, "escape")
        await wait_until(pilot, lambda: len(table.rows) > 1)
        assert current_location(pilot) == TabLocation("services")


async def test_a_search_without_a_match_says_so() -> None:
    async with open_dashboard() as (pilot, _):
        await open_services(pilot)
        await type_search(pilot, "zzz")
        await wait_for_text(pilot, "no service has such a name")


async def test_a_service_shows_its_panes_and_enter_opens_their_rows() -> None:
    async with open_dashboard(size=(160, 50)) as (pilot, _):
        await open_worst_service(pilot)
        await wait_for_text(
            pilot,
            "POST /api/orders",
            "inventory-2", "unhealthy", "←", "Authorization inventory", "programmed",
            "refusals 3", "■  limited", "RateLimit/inventory", "← orders", "1203",
            "the circuit breaker opened", "↑41", "Services › inventory",
        )  # fmt: skip
        ways: tuple[tuple[int, Location], ...] = (
            (0, ProxyLocation("inventory-1", "inventory")),
            (1, EdgeLocation("orders", "inventory")),
            (2, PolicyLocation("Authorization", "inventory")),
            (1, PolicyLocation("RateLimit", "inventory")),
            (1, TraceLocation("3f9a" + "1" * 28)),
        )
        for tabs, there in ways:
            await press(pilot, *["tab"] * tabs, "enter")
            await wait_for_location(pilot, there)
            await press(pilot, "escape")
            await wait_until(pilot, lambda: current_location(pilot) == ServiceLocation("inventory"))


async def test_refusals_have_a_pane_only_while_there_are_some() -> None:
    async with open_dashboard(size=(160, 50)) as (pilot, api):
        await open_worst_service(pilot)
        await wait_for_text(pilot, "refusals 3")
        api.mesh = replace(api.mesh, refusals=api.mesh.refusals[:1])
        await wait_for_text(pilot, "refusals 1")
        api.mesh = replace(api.mesh, refusals=())
        await wait_until(pilot, lambda: "refusals" not in screen_text(pilot))


async def test_a_service_that_left_the_mesh_says_so() -> None:
    async with open_dashboard() as (pilot, api):
        await open_worst_service(pilot)
        others = tuple(row for row in api.mesh.services.services if row.name != "inventory")
        api.mesh = replace(api.mesh, services=api.mesh.services.model_copy(update={"services": others}))
        await wait_until(pilot, lambda: "is not in the mesh, or no longer" in screen_text(pilot))


async def test_a_click_selects_a_row_and_a_second_one_opens_it() -> None:
    async with open_dashboard() as (pilot, _):
        table = await open_services(pilot)
        await pilot.click(Table, offset=(5, 2))
        await wait_until(pilot, lambda: table.selected_key == table.rows[1].key)
        await pilot.click(Table, offset=(5, 2))
        await wait_until(pilot, lambda: current_location(pilot) == ServiceLocation("orders"))


async def test_services_are_found_by_state_and_label_and_excluded_by_words() -> None:
    async with open_dashboard() as (pilot, _):
        table = await open_services(pilot)
        await type_search(pilot, "version=v2")
        await wait_until(pilot, lambda: 0 < table.count < 8 and "inventory" in {r.key for r in table.rows})
        labelled = {row.key for row in table.rows}
        await pilot.press(*" !unhealthy")
        await wait_until(pilot, lambda: {row.key for row in table.rows} == labelled - {"inventory"})
