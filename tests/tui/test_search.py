"""One language of searches on every screen: words, labels, and what must not occur."""

from __future__ import annotations

import pytest

from meshwright.tui import navigation
from meshwright.tui.app import DashboardApp
from meshwright.tui.search import LANGUAGE, instance_labels, parse_search
from meshwright.tui.widgets.graph_view import GraphView
from meshwright.tui.widgets.table import Table
from tests.tui.pilot import Dashboard, open_dashboard, type_search, wait_for_table, wait_for_text, wait_until
from tests.tui.steps import press, wait_for_location

TEXT, LABELS = "orders-1 Healthy", "version=v2 team=shop"


@pytest.mark.parametrize(
    ("line", "matches"),
    [
        ("", True),
        ("orders healthy", True),
        ("orders users", False),
        ("orders !users", True),
        ("!HEALTHY", False),
        ("!", True),
        ("version=v2", True),
        ("label=v2", True),
        ("label=V2 label=shop", True),
        ("label=v", False),
        ("label=orders-1", False),
        ("label=version:v2", True),
        ("label=team:v2", False),
        ("!label=v2", False),
        ("!label=version:v1 orders", True),
        ("label=", True),
    ],
)
def test_a_line_matches_words_and_labels(line: str, matches: bool) -> None:
    assert parse_search(line).matches(TEXT, LABELS) is matches


TABS = ("services", "sidecars", "events")


async def search_tab(pilot: Dashboard, tab: navigation.TabName, line: str) -> None:
    """Open a tab and search."""
    app = pilot.app
    assert isinstance(app, DashboardApp)
    app.go(navigation.TabLocation(tab))
    await wait_for_location(pilot, navigation.TabLocation(tab))
    if tab != "topology":
        await wait_for_table(pilot)
    await type_search(pilot, line)


@pytest.mark.parametrize(("tab", "column"), [("services", 1), ("sidecars", 1), ("events", 3)])
async def test_lists_are_searched_for_a_label_of_instances(tab: navigation.TabName, column: int) -> None:
    async with open_dashboard(size=(160, 40)) as (pilot, api):
        labels = instance_labels(api.mesh.instances)
        with_label = {name for name, text in labels.items() if "version=v2" in text}
        assert "inventory" in with_label
        await search_tab(pilot, tab, "label=version:v2")
        table = pilot.app.screen.query(Table).first()

        def names() -> list[set[str]]:
            return [set(row.cells[column].text.replace("→", " ").split()) for row in table.rows]

        await wait_until(pilot, lambda: names() and all(each & with_label for each in names()))
        await press(pilot, "escape")
        await wait_until(pilot, lambda: not all(each & with_label for each in names()))


async def test_the_topology_shows_services_with_a_label_and_their_neighbours() -> None:
    async with open_dashboard(size=(160, 40)) as (pilot, _):
        graph = pilot.app.screen.query_one(GraphView)
        await wait_until(pilot, lambda: graph.graph.nodes)
        everything = set(graph.graph.nodes)
        await search_tab(pilot, "topology", "label=v2 !orders")
        near = {"inventory"} | {name for link in graph.index.links_of("inventory") for name in link}
        await wait_until(pilot, lambda: set(graph.graph.nodes) == near)
        assert near < everything


@pytest.mark.parametrize("tab", TABS)
async def test_the_language_stands_in_the_search_bar_and_in_the_help(tab: navigation.TabName) -> None:
    async with open_dashboard(size=(80, 24)) as (pilot, _):
        await search_tab(pilot, tab, "")
        await wait_for_text(pilot, LANGUAGE)
        await press(pilot, "escape", "question_mark")
        await wait_for_text(pilot, "label=version:v2")
