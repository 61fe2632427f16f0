"""The topology screen by keys and mouse, on scenarios of the admin API."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from control_plane.api.seen import Edge, Node, Share, Topology
from tests.tui.looking import Dashboard, looking, reads, search, text, until
from tui import places
from tui.screens.topology import TopologyScreen
from tui.sheets.choose import Choose
from tui.sheets.why import WhySheet
from tui.widgets.graph import GraphView, Picked


def graph(pilot: Dashboard) -> GraphView:
    return pilot.app.screen.query_one(GraphView)


async def settled(pilot: Dashboard) -> GraphView:
    """The graph once it is laid out and has the keys."""
    await until(pilot, lambda: graph(pilot).layout_now.boxes and graph(pilot).has_focus)
    await pilot.pause()
    return graph(pilot)


async def picks(pilot: Dashboard, wanted: Picked) -> None:
    """Wait until something is selected."""
    await until(pilot, lambda: graph(pilot).picked == wanted)


async def shows(pilot: Dashboard, *names: str) -> None:
    """Wait until these services and no others are seen."""
    await until(pilot, lambda: set(graph(pilot).shape.nodes) == set(names))


def _is_at(pilot: Dashboard, expected: places.Place) -> bool:
    return place(pilot) == expected


def place(pilot: Dashboard) -> places.Place:
    return pilot.app.screen.place  # type: ignore[attr-defined,no-any-return]


async def test_the_worst_service_is_selected_and_its_trouble_told() -> None:
    async with looking(size=(80, 24)) as (pilot, _):
        seen = await settled(pilot)
        assert seen.picked == Picked("inventory")
        await reads(pilot, "✖ inventory", "⏻39 %", "1/2 healthy")
        await pilot.press("tab")
        await reads(pilot, "orders → inventory   12.4/s   ✖ ok 61.0 %")
        await reads(pilot, "breaker ⏻ open, 2 ejected (inventory-limits, rev 41")


async def test_figures_are_those_of_the_api_and_nothing_moves_when_they_change() -> None:
    async with looking(size=(80, 24)) as (pilot, api):
        seen = await settled(pilot)
        boxes = dict(seen.layout_now.boxes)
        edges = tuple(each.model_copy(update={"rps": 777.0}) for each in api.world.topology.edges)
        api.world = replace(api.world, topology=api.world.topology.model_copy(update={"edges": edges}))
        await until(pilot, lambda: "777/s" in text(pilot))
        assert seen.layout_now.boxes == boxes
        fewer = api.world.topology.model_copy(update={"edges": edges[2:]})
        api.world = replace(api.world, topology=fewer)
        await until(pilot, lambda: len(seen.index.edges) == len(edges) - 2)
        assert seen.layout_now.boxes == boxes


async def test_arrows_move_between_nodes_as_they_lie() -> None:
    async with looking(size=(120, 40)) as (pilot, _):
        await settled(pilot)
        for key, name in (("left", "orders"), ("left", "trading"), ("left", "ingress"), ("right", "trading")):
            await pilot.press(key)
            await picks(pilot, Picked(name))
        await pilot.press("up")
        await picks(pilot, Picked("storefront"))
        await pilot.press("up")
        await picks(pilot, Picked("storefront"))


async def test_tab_goes_through_the_calls_of_a_node_and_back_to_it() -> None:
    async with looking(size=(120, 40)) as (pilot, _):
        await settled(pilot)
        await pilot.press("left")
        await picks(pilot, Picked("orders"))
        for link in (
            ("ingress", "orders"),
            ("storefront", "orders"),
            ("orders", "inventory"),
            ("orders", "catalog"),
            None,
        ):
            await pilot.press("tab")
            await picks(pilot, Picked("orders", link))
        await pilot.press("left_square_bracket")
        await picks(pilot, Picked("orders", ("orders", "catalog")))
        await pilot.press("escape")
        await picks(pilot, Picked("orders"))


async def test_focus_shows_neighbours_then_more_and_escape_shows_all() -> None:
    async with looking(size=(120, 40)) as (pilot, _):
        seen = await settled(pilot)
        everything = set(seen.shape.nodes)
        await pilot.press("f")
        await shows(pilot, "inventory", "orders")
        await reads(pilot, "neighbours of inventory: 2 of 8 services")
        await pilot.press("f")
        await shows(pilot, "inventory", "orders", "ingress", "storefront", "catalog")
        await pilot.press("escape")
        await shows(pilot, *everything)
        await picks(pilot, Picked("inventory"))


async def test_search_narrows_down_and_escape_takes_it_back() -> None:
    async with looking(size=(80, 24)) as (pilot, _):
        seen = await settled(pilot)
        await search(pilot, "analy")
        await shows(pilot, "analytics", "trading")
        await picks(pilot, Picked("analytics"))
        await pilot.press("enter")
        await until(pilot, lambda: seen.has_focus)
        await pilot.press("left")
        await picks(pilot, Picked("trading"))
        await pilot.press("escape")
        await until(pilot, lambda: len(seen.shape.nodes) == 8)
        await search(pilot, "nowhere")
        await reads(pilot, "no service has such a name")


async def test_keys_lead_to_where_the_selection_is_told_of() -> None:
    async with looking(size=(120, 40)) as (pilot, _):
        await settled(pilot)
        for key, expected in (
            ("enter", places.Service("inventory")),
            ("t", places.Traces(service="inventory")),
            ("e", places.Happenings(subject="inventory")),
        ):
            await pilot.press(key)
            await until(pilot, partial(_is_at, pilot, expected))
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(pilot.app.screen, TopologyScreen))
            await settled(pilot)


async def test_a_policy_in_force_for_an_edge_is_a_key_away() -> None:
    async with looking(size=(120, 40)) as (pilot, _):
        await settled(pilot)
        await until(pilot, lambda: pilot.app.picture.policies)  # type: ignore[attr-defined]
        await pilot.press("tab")
        await until(pilot, lambda: graph(pilot).picked.link)
        await pilot.press("p")
        await until(pilot, lambda: isinstance(pilot.app.screen, Choose) and pilot.app.focused)
        await pilot.press("enter")
        await until(pilot, lambda: place(pilot) == places.Policy("CircuitBreaker", "inventory-limits"))


async def test_why_leads_to_the_newest_request_that_failed_there() -> None:
    async with looking(size=(120, 40)) as (pilot, _):
        await settled(pilot)
        await pilot.press("tab")
        await until(pilot, lambda: graph(pilot).picked.link)
        await pilot.press("w")
        await until(pilot, lambda: isinstance(pilot.app.screen, WhySheet) and pilot.app.focused)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(place(pilot), places.Trace))


async def test_versions_are_taken_apart_and_put_together_again() -> None:
    async with looking(size=(120, 40)) as (pilot, api):
        seen = await settled(pilot)
        await pilot.press("v")
        assert "inventory/v1" not in seen.shape.nodes
        shares = (
            Share(version="inventory-v1", rps=10, success=1, p99_ms=20),
            Share(version="inventory-v2", rps=2.4, success=0.1, p99_ms=502),
        )
        edges = [
            each.model_copy(update={"versions": shares}) if each.to == "inventory" else each
            for each in api.world.topology.edges
        ]
        told = api.world.topology.model_copy(update={"edges": tuple(edges)})
        api.world = replace(api.world, topology=told)
        await until(pilot, lambda: pilot.app.picture.topology == told)  # type: ignore[attr-defined]
        await pilot.press("v")
        await until(pilot, lambda: {"inventory/v1", "inventory/v2"} <= set(seen.shape.nodes))
        assert "inventory" not in seen.shape.nodes
        await picks(pilot, Picked("inventory/v2"))
        await reads(pilot, "a version of inventory")
        await pilot.press("v")
        await until(pilot, lambda: "inventory" in seen.shape.nodes)


async def test_a_click_selects_a_box_or_a_line_and_a_second_one_opens() -> None:
    async with looking(size=(120, 40)) as (pilot, _):
        seen = await settled(pilot)
        aside, above = seen._aside, seen._above
        box = seen.layout_now.boxes["catalog"]
        await pilot.click(GraphView, offset=(aside + box.x + 2, above + box.row))
        await picks(pilot, Picked("catalog"))
        label = seen.layout_now.routes["trading", "analytics"].label
        assert label
        await pilot.click(GraphView, offset=(aside + label[0] + 3, above + label[1]))
        await picks(pilot, Picked("analytics", ("trading", "analytics")))
        await pilot.click(GraphView, offset=(aside + box.x + 2, above + box.row))
        await picks(pilot, Picked("catalog"))
        await pilot.click(GraphView, offset=(aside + box.x + 2, above + box.row))
        await until(pilot, lambda: place(pilot) == places.Service("catalog"))


@pytest.mark.parametrize(
    ("scenario", "words"),
    [("empty", "no service has joined yet: try"), ("one", "no traffic yet: try `mesh demo --traffic 20`")],
)
async def test_an_empty_mesh_says_what_to_do_next(scenario: str, words: str) -> None:
    async with looking(scenario, size=(80, 24)) as (pilot, _):
        await until(pilot, lambda: words in text(pilot))


@pytest.mark.parametrize("size", [(80, 24), (20, 5)])
async def test_names_of_sixty_letters_and_other_scripts_break_nothing(size: tuple[int, int]) -> None:
    async with looking("bad", size=size) as (pilot, _):
        await settled(pilot)
        for key in ("left", "tab", "right", "f", "escape", "down"):
            await pilot.press(key)
        await pilot.resize_terminal(40, 10)
        await pilot.pause()
        await pilot.resize_terminal(120, 40)
        await settled(pilot)
        await reads(pilot, "✖ ingress")


async def test_a_hundred_services_scroll_with_the_selection() -> None:
    async with looking("many", size=(80, 24)) as (pilot, _):
        seen = await settled(pilot)
        await until(pilot, lambda: f"✖ {seen.picked.node}" in text(pilot))
        for key in ("left", "left", "down", "down", "right", "up", "right", "right"):
            await pilot.press(key)
            await pilot.pause()
            await until(pilot, lambda: f" {seen.picked.node}" in text(pilot).split("─more", maxsplit=1)[0])


async def test_a_thousand_services_begin_around_the_gateway_and_any_can_be_seen() -> None:
    async with looking("thousand", size=(120, 40)) as (pilot, _):
        seen = await settled(pilot)
        assert seen.view.focus == "ingress" and len(seen.shape.nodes) < 100
        edge = places.Edge("service-0500", "service-0501")
        pilot.app.go(edge)  # type: ignore[attr-defined]
        await until(pilot, lambda: place(pilot) == edge and pilot.app.screen.query(GraphView))
        await until(pilot, lambda: graph(pilot).picked.node == "service-0501")
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.screen.query(GraphView) and graph(pilot) is seen)
        await pilot.press("escape")
        await until(pilot, lambda: len(seen.layout_now.boxes) == 1001, within=60)


async def test_three_hundred_edges_of_one_service_are_drawn() -> None:
    nodes = [
        Node(name="hub", health="healthy"),
        *(Node(name=f"s{n}", health="unhealthy") for n in range(300)),
    ]
    edges = [
        Edge(from_=f"s{n}", to="hub", rps=1, success=0, p50_ms=1, p95_ms=1, p99_ms=1, mtls=True)
        for n in range(300)
    ]
    async with looking("empty", size=(80, 24)) as (pilot, api):
        api.world = replace(api.world, topology=Topology(nodes=tuple(nodes), edges=tuple(edges)))
        await until(pilot, lambda: len(graph(pilot).index.edges) == 300)
        seen = graph(pilot)
        seen.see(seen.view)
        await until(pilot, lambda: len(seen.layout_now.routes) == 300, within=60)
        await until(pilot, lambda: "✖100%" in text(pilot).replace(" ", ""))
