"""The topology screen by keys and mouse, on scenarios of the admin API."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from textual.widgets import OptionList

from meshwright.control_plane.api.models.topology import Topology, TopologyEdge, TopologyNode, VersionTraffic
from meshwright.tui import navigation
from meshwright.tui.dialogs.choose_one import ChooseOne
from meshwright.tui.features.topology.screen import TopologyScreen
from meshwright.tui.features.traces.why_dialog import WhyDialog
from meshwright.tui.graph.model import NodeBox
from meshwright.tui.widgets.graph_view import GraphSelection, GraphView
from tests.fakes.scenarios import ROLES, TEAMS
from tests.tui.pilot import Dashboard, open_dashboard, screen_text, type_search, wait_for_text, wait_until


def graph(pilot: Dashboard) -> GraphView:
    return pilot.app.screen.query_one(GraphView)


async def wait_for_layout(pilot: Dashboard) -> GraphView:
    """The graph, once it is laid out and has the focus."""
    await wait_until(pilot, lambda: graph(pilot).current_layout.boxes and graph(pilot).has_focus)
    await pilot.pause()
    return graph(pilot)


async def wait_for_selection(pilot: Dashboard, selection: GraphSelection) -> None:
    """Wait for a selection."""
    await wait_until(pilot, lambda: graph(pilot).selected == selection)


async def wait_for_nodes(pilot: Dashboard, *names: str) -> None:
    """Wait until exactly these services are visible."""
    await wait_until(pilot, lambda: set(graph(pilot).graph.nodes) == set(names))


def _is_at(pilot: Dashboard, expected: navigation.Location) -> bool:
    return place(pilot) == expected


def place(pilot: Dashboard) -> navigation.Location:
    return pilot.app.screen.location  # type: ignore[attr-defined,no-any-return]


async def test_the_worst_service_is_selected_and_its_problem_shown() -> None:
    async with open_dashboard(size=(80, 24)) as (pilot, _):
        seen = await wait_for_layout(pilot)
        assert seen.selected == GraphSelection("inventory")
        await wait_for_text(pilot, "× inventory", "■61 %", "1/2 healthy")
        await pilot.press("tab")
        await wait_for_text(pilot, "orders → inventory   12.4/s   × failed 61.0 %")
        await wait_for_text(pilot, "breaker ■ open, 2 ejected (inventory-limits, rev 41")


async def test_figures_update_without_moving_boxes() -> None:
    async with open_dashboard(size=(80, 24)) as (pilot, api):
        seen = await wait_for_layout(pilot)
        boxes = dict(seen.current_layout.boxes)
        edges = tuple(each.model_copy(update={"rps": 777.0}) for each in api.mesh.topology.edges)
        api.mesh = replace(api.mesh, topology=api.mesh.topology.model_copy(update={"edges": edges}))
        await wait_until(pilot, lambda: "777/s" in screen_text(pilot))
        assert seen.current_layout.boxes == boxes
        fewer = api.mesh.topology.model_copy(update={"edges": edges[2:]})
        api.mesh = replace(api.mesh, topology=fewer)
        await wait_until(pilot, lambda: len(seen.index.edges) == len(edges) - 2)
        assert seen.current_layout.boxes == boxes


async def test_nodes_are_cards_with_figures_and_history_where_there_is_room() -> None:
    async with open_dashboard(size=(200, 60)) as (pilot, _):
        seen = await wait_for_layout(pilot)
        assert seen.has_cards
        await wait_for_text(pilot, "12/s err 61 % 502 ms", "■ open mTLS")
        row = seen.current_layout.boxes["inventory"]
        await wait_until(pilot, lambda: "▇" in _box_text(seen, row))
    async with open_dashboard(size=(80, 24)) as (pilot, _):
        seen = await wait_for_layout(pilot)
        assert not seen.has_cards
        assert pilot.app.mesh_state.services is None  # type: ignore[attr-defined]


def _box_text(view: GraphView, box: NodeBox) -> str:
    """What the rows of a box show."""
    top = (view.size.height - view.current_layout.height) // 2
    return "".join(view.render_line(top + box.y + row).text for row in range(box.height))


async def test_arrow_keys_move_between_nodes() -> None:
    async with open_dashboard(size=(120, 40)) as (pilot, _):
        await wait_for_layout(pilot)
        for key, name in (("left", "orders"), ("left", "trading"), ("left", "ingress"), ("right", "trading")):
            await pilot.press(key)
            await wait_for_selection(pilot, GraphSelection(name))
        await pilot.press("up")
        await wait_for_selection(pilot, GraphSelection("storefront"))
        await pilot.press("up")
        await wait_for_selection(pilot, GraphSelection("storefront"))


async def test_tab_cycles_through_the_edges_of_a_node() -> None:
    async with open_dashboard(size=(120, 40)) as (pilot, _):
        await wait_for_layout(pilot)
        await pilot.press("left")
        await wait_for_selection(pilot, GraphSelection("orders"))
        for link in (
            ("ingress", "orders"),
            ("storefront", "orders"),
            ("orders", "inventory"),
            ("orders", "catalog"),
            None,
        ):
            await pilot.press("tab")
            await wait_for_selection(pilot, GraphSelection("orders", link))
        await pilot.press("shift+tab")
        await wait_for_selection(pilot, GraphSelection("orders", ("orders", "catalog")))
        await pilot.press("escape")
        await wait_for_selection(pilot, GraphSelection("orders"))


async def test_focus_shows_neighbours_then_more_and_esc_shows_all() -> None:
    async with open_dashboard(size=(120, 40)) as (pilot, _):
        seen = await wait_for_layout(pilot)
        everything = set(seen.graph.nodes)
        await pilot.press("z")
        await wait_for_nodes(pilot, "inventory", "orders")
        await wait_for_text(pilot, "neighbours of inventory: 2 of 8 services")
        await pilot.press("z")
        await wait_for_nodes(pilot, "inventory", "orders", "ingress", "storefront", "catalog")
        await pilot.press("escape")
        await wait_for_nodes(pilot, *everything)
        await wait_for_selection(pilot, GraphSelection("inventory"))


async def test_services_are_grouped_by_name_or_label_expanded_and_collapsed() -> None:
    async with open_dashboard("crowded", size=(160, 48)) as (pilot, _):
        seen = await wait_for_layout(pilot)
        everything = set(seen.graph.nodes)
        await pilot.press("b")
        await wait_for_text(pilot, "group services by", "beginning of the name", "each service alone")
        await _choose(pilot, "beginning of the name")
        teams = [f"{team} (10)" for team in TEAMS]
        await wait_for_nodes(pilot, "ingress", *teams)
        await wait_for_text(pilot, "by beginning of the name, Enter expands a group")
        seen.select(GraphSelection("pay (10)"))
        await pilot.press("enter")
        members = [f"pay-{role}" for role in ROLES]
        await wait_for_nodes(pilot, "ingress", *(team for team in teams if team != "pay (10)"), *members)
        await pilot.press("escape")
        await wait_for_nodes(pilot, "ingress", *teams)
        await pilot.press("b")
        await _choose(pilot, "each service alone")
        await wait_for_nodes(pilot, *everything)


async def test_search_finds_a_service_in_its_group() -> None:
    async with open_dashboard("crowded", size=(160, 48)) as (pilot, _):
        seen = await wait_for_layout(pilot)
        await pilot.press("b")
        await wait_for_text(pilot, "group services by")
        await _choose(pilot, "beginning of the name")
        await wait_for_nodes(pilot, "ingress", *(f"{team} (10)" for team in TEAMS))
        seen.select(GraphSelection("ingress"))
        await type_search(pilot, "pay-mail")
        await wait_for_selection(pilot, GraphSelection("pay (10)"))


async def _choose(pilot: Dashboard, choice: str) -> None:
    """Select a choice of the dialog by its text."""
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, ChooseOne))
    options = pilot.app.screen.query_one(OptionList)
    texts = [str(option.prompt).strip() for option in options.options]
    options.highlighted = texts.index(choice)
    await pilot.press("enter")


async def test_search_filters_nodes_and_esc_ends_it() -> None:
    async with open_dashboard(size=(80, 24)) as (pilot, _):
        seen = await wait_for_layout(pilot)
        await type_search(pilot, "analy")
        await wait_for_nodes(pilot, "analytics", "trading")
        await wait_for_selection(pilot, GraphSelection("analytics"))
        await pilot.press("enter")
        await wait_until(pilot, lambda: seen.has_focus)
        await pilot.press("left")
        await wait_for_selection(pilot, GraphSelection("trading"))
        await pilot.press("escape")
        await wait_until(pilot, lambda: len(seen.graph.nodes) == 8)
        await type_search(pilot, "nowhere")
        await wait_for_text(pilot, "no service has such a name")


async def test_keys_open_service_traces_and_events_of_the_selection() -> None:
    async with open_dashboard(size=(120, 40)) as (pilot, _):
        await wait_for_layout(pilot)
        for key, expected in (
            ("enter", navigation.ServiceLocation("inventory")),
            ("t", navigation.TracesLocation(service="inventory")),
            ("h", navigation.EventsLocation(subject="inventory")),
        ):
            await pilot.press(key)
            await wait_until(pilot, partial(_is_at, pilot, expected))
            await pilot.press("escape")
            await wait_until(pilot, lambda: isinstance(pilot.app.screen, TopologyScreen))
            await wait_for_layout(pilot)


async def test_p_lists_the_policies_in_force_for_an_edge() -> None:
    async with open_dashboard(size=(120, 40)) as (pilot, _):
        await wait_for_layout(pilot)
        await wait_until(pilot, lambda: pilot.app.screen._details.policies)  # type: ignore[attr-defined]
        await pilot.press("tab")
        await wait_until(pilot, lambda: graph(pilot).selected.link)
        await pilot.press("p")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, ChooseOne) and pilot.app.focused)
        await pilot.press("enter")
        await wait_until(
            pilot, lambda: place(pilot) == navigation.PolicyLocation("Authorization", "inventory")
        )


async def test_w_explains_the_newest_failed_request() -> None:
    async with open_dashboard(size=(120, 40)) as (pilot, _):
        await wait_for_layout(pilot)
        await pilot.press("tab")
        await wait_until(pilot, lambda: graph(pilot).selected.link)
        await pilot.press("w")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, WhyDialog) and pilot.app.focused)
        await pilot.press("escape")
        await wait_until(pilot, lambda: isinstance(place(pilot), navigation.TraceLocation))


async def test_v_splits_and_merges_versions() -> None:
    async with open_dashboard(size=(120, 40)) as (pilot, api):
        seen = await wait_for_layout(pilot)
        await pilot.press("v")
        assert "inventory/v1" not in seen.graph.nodes
        shares = (
            VersionTraffic(version="inventory-v1", rps=10, success=1, p99_ms=20),
            VersionTraffic(version="inventory-v2", health="unhealthy", rps=2.4, success=0.1, p99_ms=502),
        )
        edges = [
            each.model_copy(update={"versions": shares}) if each.to == "inventory" else each
            for each in api.mesh.topology.edges
        ]
        split_topology = api.mesh.topology.model_copy(update={"edges": tuple(edges)})
        api.mesh = replace(api.mesh, topology=split_topology)
        await wait_until(pilot, lambda: pilot.app.mesh_state.topology == split_topology)  # type: ignore[attr-defined]
        await pilot.press("v")
        await wait_until(pilot, lambda: {"inventory/v1", "inventory/v2"} <= set(seen.graph.nodes))
        assert "inventory" not in seen.graph.nodes
        await wait_for_selection(pilot, GraphSelection("inventory/v2"))
        await wait_for_text(pilot, "a version of inventory")
        await pilot.press("v")
        await wait_until(pilot, lambda: "inventory" in seen.graph.nodes)


async def test_a_click_selects_a_box_or_an_edge_and_a_second_one_opens() -> None:
    async with open_dashboard(size=(120, 40)) as (pilot, _):
        seen = await wait_for_layout(pilot)
        aside, above = seen._left_margin, seen._top_margin
        box = seen.current_layout.boxes["catalog"]
        await pilot.click(GraphView, offset=(aside + box.x + 2, above + box.row))
        await wait_for_selection(pilot, GraphSelection("catalog"))
        label = seen.current_layout.routes["trading", "analytics"].label
        assert label
        await pilot.click(GraphView, offset=(aside + label[0] + 3, above + label[1]))
        await wait_for_selection(pilot, GraphSelection("analytics", ("trading", "analytics")))
        await pilot.click(GraphView, offset=(aside + box.x + 2, above + box.row))
        await wait_for_selection(pilot, GraphSelection("catalog"))
        await pilot.click(GraphView, offset=(aside + box.x + 2, above + box.row))
        await wait_until(pilot, lambda: place(pilot) == navigation.ServiceLocation("catalog"))


@pytest.mark.parametrize(
    ("scenario", "words"),
    [("empty", "no service has joined yet: try"), ("one", "no traffic yet: try `mesh demo --traffic 5`")],
)
async def test_an_empty_mesh_says_what_to_do_next(scenario: str, words: str) -> None:
    async with open_dashboard(scenario, size=(80, 24)) as (pilot, _):
        await wait_until(pilot, lambda: words in screen_text(pilot))


@pytest.mark.parametrize("size", [(80, 24), (20, 5)])
async def test_long_names_and_other_scripts_are_drawn(size: tuple[int, int]) -> None:
    async with open_dashboard("bad", size=size) as (pilot, _):
        await wait_for_layout(pilot)
        for key in ("left", "tab", "right", "f", "escape", "down"):
            await pilot.press(key)
        await pilot.resize_terminal(40, 10)
        await pilot.pause()
        await pilot.resize_terminal(120, 40)
        await wait_for_layout(pilot)
        await wait_for_text(pilot, "× ingress")


async def test_a_hundred_services_scroll_with_the_selection() -> None:
    async with open_dashboard("many", size=(80, 24)) as (pilot, _):
        seen = await wait_for_layout(pilot)
        await wait_until(pilot, lambda: f"× {seen.selected.node}" in screen_text(pilot))
        for key in ("left", "left", "down", "down", "right", "up", "right", "right"):
            await pilot.press(key)
            await pilot.pause()
            await wait_until(
                pilot, lambda: f" {seen.selected.node}" in screen_text(pilot).split("─more", maxsplit=1)[0]
            )


async def test_a_thousand_services_start_around_the_gateway_and_any_can_be_opened() -> None:
    async with open_dashboard("thousand", size=(120, 40)) as (pilot, _):
        seen = await wait_for_layout(pilot)
        assert seen.graph_filter.focus == "ingress" and len(seen.graph.nodes) < 100
        edge = navigation.EdgeLocation("service-0500", "service-0501")
        pilot.app.go(edge)  # type: ignore[attr-defined]
        await wait_until(pilot, lambda: place(pilot) == edge and pilot.app.screen.query(GraphView))
        await wait_until(pilot, lambda: graph(pilot).selected.node == "service-0501")
        await pilot.press("escape")
        await wait_until(pilot, lambda: pilot.app.screen.query(GraphView) and graph(pilot) is seen)
        await pilot.press("escape")
        await wait_until(pilot, lambda: len(seen.current_layout.boxes) == 1001, within=60)


async def test_three_hundred_edges_of_one_service_are_drawn() -> None:
    nodes = [
        TopologyNode(name="hub", health="healthy"),
        *(TopologyNode(name=f"s{n}", health="unhealthy") for n in range(300)),
    ]
    edges = [
        TopologyEdge(
            from_=f"s{n}",
            to="hub",
            health="unhealthy",
            rps=1,
            success=0,
            p50_ms=1,
            p95_ms=1,
            p99_ms=1,
            mtls=True,
        )
        for n in range(300)
    ]
    async with open_dashboard("empty", size=(80, 24)) as (pilot, api):
        api.mesh = replace(api.mesh, topology=Topology(nodes=tuple(nodes), edges=tuple(edges)))
        await wait_until(pilot, lambda: len(graph(pilot).index.edges) == 300)
        seen = graph(pilot)
        seen.set_filter(seen.graph_filter)
        await wait_until(pilot, lambda: len(seen.current_layout.routes) == 300, within=60)
        await wait_until(pilot, lambda: "×100%" in screen_text(pilot).replace(" ", ""))


async def test_a_crowded_graph_draws_the_edges_of_the_selection_and_those_in_trouble() -> None:
    async with open_dashboard("crowded", size=(160, 48)) as (pilot, _):
        await wait_for_text(pilot, "edges of the selection and those in trouble, a all")
        graph = pilot.app.screen.query_one(GraphView)
        assert graph.selected.node == "stock-feed"

        def drawn() -> set[tuple[str, str]]:
            return set(graph._scene.edges)

        here = set(graph.index.links_of("stock-feed"))
        trouble = {link for link, edge in graph.index.edges.items() if edge.success < 1}
        assert drawn() == here | trouble
        await pilot.press("a")
        await wait_until(pilot, lambda: len(drawn()) == 200)
        await pilot.press("a", "z")
        await wait_for_text(pilot, "neighbours of stock-feed")
        await wait_until(pilot, lambda: len(drawn()) < 80)
        assert "a all" not in screen_text(pilot)
