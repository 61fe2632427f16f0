"""Stability: the same nodes keep their places, and new ones move others as little as possible."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from meshwright.control_plane.api.models.topology import Topology, TopologyEdge, TopologyNode
from meshwright.tui.graph.graph import Graph, Link
from meshwright.tui.graph.layout import lay_out, order_graph
from meshwright.tui.graph.model import Density, Layout
from meshwright.tui.graph.viewport import (
    LARGE_MESH,
    GraphFilter,
    SeenLinks,
    initial_filter,
    neighbourhood,
    visible_graph,
)
from tests.tui.graph.sample_graphs import EXCHANGE, SHOP, shapes

LOOK = Density()


def order(layout: Layout) -> list[list[str]]:
    """Names by column, from top to bottom."""
    columns: dict[int, list[str]] = {}
    for box in sorted(layout.boxes.values(), key=lambda item: item.y):
        columns.setdefault(box.layer, []).append(box.name)
    return [columns[layer] for layer in sorted(columns)]


def without(shape: Graph, gone: str) -> Graph:
    nodes = tuple(name for name in shape.nodes if name != gone)
    return Graph(nodes, tuple(link for link in shape.links if gone not in link), shape.roots, shape.width)


@settings(max_examples=100, deadline=None)
@given(shapes())
def test_a_layout_based_on_itself_is_unchanged(shape: Graph) -> None:
    """From the second layout on: the first one may find an order with fewer crossings."""
    layout = lay_out(order_graph(shape), LOOK)
    for _ in range(4):
        again = lay_out(order_graph(shape, layout), LOOK)
        if again == layout:
            return
        layout = again
    raise AssertionError("it goes on moving")


def test_removing_and_adding_a_leaf_keeps_the_order_of_the_others() -> None:
    for shape, leaves in ((EXCHANGE, ("inventory", "analytics")), (SHOP, ("inventory", "users", "search"))):
        before = lay_out(order_graph(shape), LOOK)
        for leaf in leaves:
            less = without(shape, leaf)
            after = lay_out(order_graph(less, before), LOOK)
            remaining = [[name for name in column if name != leaf] for column in order(before)]
            assert order(after) == [column for column in remaining if column]
            again = lay_out(order_graph(shape, after), LOOK)
            assert [[name for name in column if name != leaf] for column in order(again)] == remaining


def seen(names: str, *edges: str) -> Topology:
    nodes = tuple(TopologyNode(name=name, health="healthy") for name in names)
    return Topology(nodes=nodes, edges=tuple(edge((item[0], item[1])) for item in edges))


def edge(link: Link) -> TopologyEdge:
    return TopologyEdge(from_=link[0], to=link[1], rps=1, success=1, p50_ms=1, p95_ms=1, p99_ms=1, mtls=True)


def test_a_link_without_traffic_keeps_its_place_until_the_nodes_change() -> None:
    memory = SeenLinks().updated(seen("abc", "ab", "ac"))
    faded = seen("abc", "ab")
    memory = memory.updated(faded)
    assert visible_graph(faded, memory, GraphFilter()).links == (("a", "b"), ("a", "c"))
    more = seen("abcd", "ab")
    assert visible_graph(more, memory.updated(more), GraphFilter()).links == (("a", "b"),)


@settings(max_examples=50, deadline=None)
@given(shapes(), st.integers(1, 3))
def test_a_focus_shows_nodes_within_its_hops(shape: Graph, reach: int) -> None:
    links = shape.edges()
    if not links:
        return
    start = links[0][0]
    reached = neighbourhood({start}, links, reach)
    assert start in reached
    for a, b in links:
        if a in neighbourhood({start}, links, reach - 1):
            assert b in reached
    assert neighbourhood({start}, links, len(shape.nodes)) == neighbourhood(
        {start}, links, len(shape.nodes) + 1
    )


def test_a_search_shows_matches_and_their_neighbours() -> None:
    topology = seen("abcd", "ab", "bc", "cd")
    shape = visible_graph(topology, SeenLinks().updated(topology), GraphFilter(text="a"))
    assert shape.nodes == ("a", "b")


def test_a_large_mesh_starts_with_its_gateways_neighbours() -> None:
    nodes = [TopologyNode(name=f"n{n}", health="healthy") for n in range(LARGE_MESH)]
    gateway = TopologyNode(name="way-in", role="gateway", health="healthy")
    topology = Topology(nodes=(*nodes, gateway), edges=(edge(("way-in", "n1")),))
    view = initial_filter(topology)
    assert view == GraphFilter(focus="way-in", hops=1)
    assert visible_graph(topology, SeenLinks().updated(topology), view).nodes == ("n1", "way-in")
    assert initial_filter(seen("ab", "ab")) == GraphFilter()
