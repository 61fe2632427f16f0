"""A table holds still under the cursor while its rows arrive, leave and change order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.app import App, ComposeResult

from meshwright.tui import theme
from meshwright.tui.widgets.table import Table
from meshwright.tui.widgets.table_model import TableCell, TableColumn, TableRow

COLUMNS = (TableColumn("name", 12, grow=True), TableColumn("value", 6, right=True))
KEYS = [f"row-{number:03}" for number in range(100)]


class OneTable(App[None]):
    """A table with a title, and nothing else."""

    def __init__(self, title: str = "") -> None:
        super().__init__()
        self._table_title = title

    def compose(self) -> ComposeResult:
        """The table."""
        yield Table(COLUMNS, title=self._table_title)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """The dashboard's colours."""
        return theme.DARK.variables


def rows(keys: list[str], value: int = 0) -> list[TableRow]:
    return [TableRow(key, (TableCell(key), TableCell(str(value)))) for key in keys]


def shuffled(keys: list[str]) -> list[str]:
    """Another order, in which no row is near an end that keeps it from its line."""
    middle = keys[30:70]
    return keys[:30] + middle[1::2][::-1] + middle[::2] + keys[70:]


CHANGES: dict[str, Callable[[list[str]], list[str]]] = {
    "rows arrive above": lambda keys: [f"new-{number}" for number in range(7)] + keys,
    "rows arrive below": lambda keys: [*keys, "new"],
    "rows leave above": lambda keys: keys[5:],
    "rows change order": shuffled,
    "all at once": lambda keys: ["new", *shuffled(keys)[3:], "newer"],
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
async def test_the_selected_row_stays_selected_and_on_its_line(
    change: Callable[[list[str]], list[str]],
) -> None:
    async with OneTable().run_test(size=(60, 20)) as pilot:
        table = pilot.app.query_one(Table)
        table.set_rows(rows(KEYS))
        await pilot.pause()
        assert table.select_key("row-050")
        table.action_move(-4)
        await pilot.pause()
        selected, line = table.selected_key, table.cursor - table.scroll_offset.y
        for value in range(1, 4):
            table.set_rows(rows(change(KEYS), value))
            await pilot.pause()
            assert (table.selected_key, table.cursor - table.scroll_offset.y) == (selected, line)
            assert drawn(table, 1 + line).startswith(f" {selected}")


async def test_the_title_covers_only_the_heads_that_it_needs() -> None:
    async with OneTable("instances 2").run_test(size=(40, 6)) as pilot:
        table = pilot.app.query_one(Table)
        table.set_rows(rows(["a-rather-long-name"]))
        await pilot.pause()
        head = drawn(table, 0)
        assert head.startswith(" instances 2 ")
        assert "name" not in head
        assert head.rstrip().endswith("value")
        assert head.index("value") + len("value") == drawn(table, 1).rindex("0") + 1
        table.set_title("")
        assert drawn(table, 0).startswith(" name ")


def drawn(table: Table, line: int) -> str:
    """A line of the table as text."""
    return table.render_line(line).text
