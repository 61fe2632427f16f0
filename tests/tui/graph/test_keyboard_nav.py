"""Arrow keys on the graph, and scrolling."""

from __future__ import annotations

from typing import get_args

from hypothesis import example, given, settings
from hypothesis import strategies as st

from meshwright.tui.graph.graph import Graph
from meshwright.tui.graph.keyboard_nav import Direction, nearest_box, scroll_start
from meshwright.tui.graph.layout import lay_out, order_graph
from meshwright.tui.graph.model import Density, Layout
from tests.tui.graph.sample_graphs import EXCHANGE, shapes

DIRECTIONS: tuple[Direction, ...] = get_args(Direction)


def reached(layout: Layout, start: str) -> set[str]:
    """The nodes that arrow keys reach."""
    reached, todo = {start}, [start]
    for name in todo:
        for direction in DIRECTIONS:
            other = nearest_box(layout, name, direction)
            if other not in reached:
                reached.add(other)
                todo.append(other)
    return reached


@settings(max_examples=100, deadline=None)
@given(shapes(), st.sampled_from(["box", "bracket"]))
@example(Graph(tuple("abcdefgh"), (("b", "c"), ("c", "d"), ("e", "f")), width={"a": 9}), "box")
def test_arrow_keys_reach_every_node_from_any_node(shape: Graph, frame: str) -> None:
    layout = lay_out(order_graph(shape), Density(frame=frame, row_gap=0))  # type: ignore[arg-type]
    for name in shape.nodes:
        assert reached(layout, name) == set(shape.nodes)


@settings(max_examples=100, deadline=None)
@given(shapes())
def test_nearest_box_is_in_the_direction_of_the_arrow(shape: Graph) -> None:
    layout = lay_out(order_graph(shape), Density())
    for name, box in layout.boxes.items():
        for direction in DIRECTIONS:
            other = layout.boxes[nearest_box(layout, name, direction)]
            if other != box:
                ahead = {
                    "left": box.x - other.x,
                    "right": other.x - box.x,
                    "up": box.row - other.row,
                    "down": other.row - box.row,
                }
                assert ahead[direction] > 0


def test_a_step_sideways_selects_the_nearest_row_of_the_next_column() -> None:
    layout = lay_out(order_graph(EXCHANGE), Density())
    assert nearest_box(layout, "orders", "right") == "inventory"
    assert nearest_box(layout, "orders", "left") == "trading"
    assert nearest_box(layout, "inventory", "right") == "inventory"
    assert nearest_box(layout, "nowhere", "left") == "ingress"


@given(st.integers(0, 500), st.integers(4, 100), st.integers(0, 500), st.integers(1, 40))
def test_scroll_start_shows_a_span_with_the_least_scrolling(
    start: int, room: int, first: int, length: int
) -> None:
    last = first + length - 1
    reached = scroll_start(start, room, first, last)
    assert reached <= first
    if length + 2 <= room:
        assert last < reached + room
    if start < first and last < start + room - 1:
        assert reached == start
