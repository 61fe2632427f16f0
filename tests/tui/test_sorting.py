"""Every list is sorted by its columns, marks the one in use, and holds its row under the cursor."""

from __future__ import annotations

from typing import Any

import pytest

from meshwright.tui.features.events.screen import EventsScreen
from meshwright.tui.features.logs.screen import LogsScreen
from meshwright.tui.features.policies.revisions_screen import RevisionsScreen
from meshwright.tui.features.policies.screen import PoliciesScreen
from meshwright.tui.features.requests.screen import LiveRequestsScreen
from meshwright.tui.features.rollouts.screen import RolloutsScreen
from meshwright.tui.features.services.screen import ServicesScreen
from meshwright.tui.features.sidecars.screen import SidecarsScreen
from meshwright.tui.features.traces.screen import TracesScreen
from meshwright.tui.navigation import RevisionLocation
from meshwright.tui.sortable_screen import SortableScreen
from meshwright.tui.widgets.cell_order import cell_order
from meshwright.tui.widgets.table import Table
from tests.tui.pilot import Dashboard, open_dashboard, screen_text, wait_for_table, wait_until
from tests.tui.steps import LOCATIONS, open_worst_service, press, wait_for_location

LISTS: tuple[type[SortableScreen[Any]], ...] = (
    EventsScreen, LiveRequestsScreen, LogsScreen, PoliciesScreen, RevisionsScreen, RolloutsScreen,
    ServicesScreen, SidecarsScreen, TracesScreen,
)  # fmt: skip


@pytest.mark.parametrize("screen", LISTS)
def test_every_order_belongs_to_a_column(screen: type[SortableScreen[Any]]) -> None:
    titles = [column.title for column in screen.COLUMNS]
    assert {order.title for order in screen.SORT_ORDERS} <= set(titles)


@pytest.mark.parametrize("key", ["2", "3", "4", "5", "6"])
async def test_a_list_is_sorted_reversed_and_keeps_its_selected_row(key: str) -> None:
    async with open_dashboard(size=(160, 40)) as (pilot, _):
        await press(pilot, key)
        await wait_for_location(pilot, LOCATIONS[int(key) - 1])
        table = await wait_for_table(pilot)
        assert sign_in_heads(pilot, table.region.y) in "▲▼"
        await press(pilot, "down")
        selected = table.selected_key
        await press(pilot, "greater_than_sign")
        first_sign = sign_in_heads(pilot, table.region.y)
        keys = [row.key for row in table.rows]
        await press(pilot, "r")
        await wait_until(pilot, lambda: [row.key for row in table.rows] == keys[::-1])
        assert {first_sign, sign_in_heads(pilot, table.region.y)} == {"▲", "▼"}
        assert table.selected_key == selected


async def test_a_list_at_its_start_stays_there_in_another_order() -> None:
    async with open_dashboard(size=(80, 24)) as (pilot, _):
        await press(pilot, "3")
        await wait_for_location(pilot, LOCATIONS[2])
        table = await wait_for_table(pilot)
        newest = table.selected_key
        await press(pilot, "greater_than_sign", "r")
        assert table.rows[0].key != newest
        assert (table.cursor, table.scroll_offset.y) == (0, 0)
        await press(pilot, "less_than_sign")
        assert table.selected_key == newest


async def test_revisions_are_sorted_by_author_after_a_click_on_its_head() -> None:
    async with open_dashboard(size=(160, 40)) as (pilot, _):
        pilot.app.go(RevisionLocation(41))  # type: ignore[attr-defined]
        table = await wait_for_table(pilot)
        heads = screen_text(pilot).splitlines()[table.region.y]
        await pilot.click(table, offset=(heads.index("author") - table.region.x, 0))
        await wait_until(pilot, lambda: "author▲" in screen_text(pilot))
        authors = [row.cells[4].text for row in table.rows]
        assert authors == sorted(authors, key=lambda author: (not author, author))


def sign_in_heads(pilot: Dashboard, line: int) -> str:
    """The sign of the sorted column."""
    heads = screen_text(pilot).splitlines()[line]
    return next(sign for sign in heads if sign in "▲▼")


async def test_a_pane_is_sorted_by_its_columns_and_returns_to_the_usual_order() -> None:
    async with open_dashboard(size=(160, 40)) as (pilot, _):
        await open_worst_service(pilot)
        refusals = pilot.app.screen.query_one("#refusals Table", Table)
        await wait_until(pilot, lambda: refusals.count > 1)
        usual = [row.key for row in refusals.rows]
        refusals.focus()
        await wait_until(pilot, lambda: refusals.has_focus)
        await press(pilot, "greater_than_sign")
        outcomes = cells(refusals, 1)
        assert outcomes == sorted(outcomes, key=cell_order)
        assert "▲" in screen_text(pilot).splitlines()[refusals.region.y]
        await press(pilot, "r")
        assert cells(refusals, 1) == outcomes[::-1]
        await press(pilot, "less_than_sign")
        assert [row.key for row in refusals.rows] == usual


async def test_a_click_on_a_head_sorts_a_pane_by_its_figures() -> None:
    async with open_dashboard(size=(160, 40)) as (pilot, _):
        await open_worst_service(pilot)
        refusals = pilot.app.screen.query_one("#refusals Table", Table)
        await wait_until(pilot, lambda: refusals.count > 1)
        heads = screen_text(pilot).splitlines()[refusals.region.y][refusals.region.x :]
        await pilot.click(refusals, offset=(heads.index("total") + 1, 0))
        await wait_until(pilot, lambda: "total▼" in screen_text(pilot))
        totals = cells(refusals, 5)
        assert totals == sorted(totals, key=cell_order, reverse=True)
        assert len(set(totals)) > 1


def cells(table: Table, column: int) -> list[str]:
    """The texts of a column, from the top."""
    return [row.cells[column].text for row in table.rows]
