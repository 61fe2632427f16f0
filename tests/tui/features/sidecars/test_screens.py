"""A sidecar's configuration and its rejections."""

from __future__ import annotations

from meshwright.tui.features.sidecars import table
from meshwright.tui.features.sidecars.config_view import ConfigTree
from meshwright.tui.navigation import (
    TabLocation,
)
from tests.tui.pilot import (
    open_dashboard,
    screen_text,
    type_search,
    wait_for_table,
    wait_for_text,
    wait_until,
)
from tests.tui.steps import press, wait_for_location


async def test_the_configuration_of_a_sidecar_expands_and_is_searched() -> None:
    async with open_dashboard(size=(120, 40)) as (pilot, _):
        await press(pilot, "5")
        await wait_for_location(pilot, TabLocation("sidecars"))
        await wait_for_table(pilot)
        await press(pilot, "enter")
        await wait_for_text(pilot, "► clusters")
        tree = pilot.app.screen.query_one(ConfigTree)
        await wait_until(pilot, lambda: tree.has_focus)
        await press(pilot, "enter")
        await wait_for_text(pilot, "dynamic_active_clusters")
        await type_search(pilot, "15006")
        await wait_for_text(pilot, "port: 15006", "1 match")
        await press(pilot, "escape")
        await wait_until(pilot, lambda: len(tree.root.children) == 3)


async def test_a_rejection_is_shown_in_envoys_message() -> None:
    async with open_dashboard("bad", size=(120, 40)) as (pilot, _):
        await press(pilot, "5")
        await wait_for_location(pilot, TabLocation("sidecars"))
        await wait_for_table(pilot)
        await press(pilot, "enter")
        await wait_until(
            pilot,
            lambda: "rejects Proto constraint validation failed: [bold]Wörter 語句" in screen_text(pilot),
        )


def test_every_sort_order_has_a_column() -> None:
    assert {order.title for order in table.SORT_ORDERS} <= {column.title for column in table.COLUMNS}


async def test_sidecars_are_sorted_by_any_column_and_reversed() -> None:
    async with open_dashboard() as (pilot, _):
        await pilot.press("5")
        shown = await wait_for_table(pilot)
        await pilot.press("greater_than_sign")
        names = [row.cells[1].text for row in shown.rows]
        await wait_until(pilot, lambda: [row.cells[1].text for row in shown.rows] == sorted(names))
        await pilot.press("r")
        await wait_until(pilot, lambda: [row.cells[1].text for row in shown.rows] == sorted(names)[::-1])
