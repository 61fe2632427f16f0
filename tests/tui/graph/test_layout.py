"""Properties of every layout, for any graph."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import example, given, settings
from hypothesis import strategies as st

from meshwright.tui.graph.box_drawing import DOWN, LEFT, RIGHT, UP
from meshwright.tui.graph.bundles import EdgeBundle
from meshwright.tui.graph.graph import Graph, Link
from meshwright.tui.graph.layout import lay_out, order_graph
from meshwright.tui.graph.model import Density, EdgeRoute, Layout
from meshwright.tui.graph.raster import Owner, cells
from tests.tui.graph.sample_graphs import EXCHANGE, SHOP, shapes, tiered

LOOKS = st.builds(
    Density,
    frame=st.sampled_from(["box", "slim", "bracket", "bare"]),
    row_gap=st.integers(0, 2),
    label_width=st.sampled_from([1, 5, 7, 13]),
    track_spacing=st.integers(0, 1),
    name_width=st.sampled_from([12, 32]),
    card_rows=st.integers(0, 3),
)
STEPS = {UP: (0, -1), DOWN: (0, 1), LEFT: (-1, 0), RIGHT: (1, 0)}
ACROSS = {UP: DOWN, DOWN: UP, LEFT: RIGHT, RIGHT: LEFT}
MANY = settings(max_examples=100, deadline=None)


def masks(layout: Layout) -> dict[tuple[int, int], dict[Owner, int]]:
    """The arms of each owner in each cell."""
    cells_by_position: dict[tuple[int, int], dict[Owner, int]] = {}
    for route in layout.routes.values():
        for x, y, owner, mask in cells(route):
            at = cells_by_position.setdefault((x, y), {})
            at[owner] = at.get(owner, 0) | mask
    return cells_by_position


def read(layout: Layout) -> Iterator[Link]:
    """The links that following the lines yields: straight on at crossings, every direction at a branch.

    Where lines join before a head, on to the head.
    """
    lines = masks(layout)
    heads = {route.points[-1]: route.link[1] for route in layout.routes.values()}
    for name in layout.boxes:
        begins = {route.points[0] for route in layout.routes.values() if route.link[0] == name}
        for x, y in begins:
            (first,) = [route.bundle for route in layout.routes.values() if route.points[0] == (x, y)][:1]
            yield from ((name, to) for to in _walk(lines, heads, (x, y), RIGHT if first.forward else LEFT))


def _walk(
    lines: dict[tuple[int, int], dict[Owner, int]],
    heads: dict[tuple[int, int], str],
    at: tuple[int, int],
    heading: int,
) -> set[str]:
    cells_by_position, seen, todo = set[str](), set[tuple[tuple[int, int], int]](), [(at, heading)]
    while todo:
        at, heading = todo.pop()
        if (at, heading) in seen:
            continue
        seen.add((at, heading))
        here = lines[at]
        (owner, *crossed) = here
        if at in heads:
            cells_by_position.add(heads[at])
            continue
        if not crossed and not isinstance(owner, EdgeBundle):
            cells_by_position.add(owner[0])
            continue
        ways = heading if crossed else here[owner] & ~ACROSS[heading]
        for arm, (dx, dy) in STEPS.items():
            if ways & arm:
                todo.append(((at[0] + dx, at[1] + dy), arm))
    return cells_by_position


@MANY
@given(shapes(), LOOKS)
@example(EXCHANGE, Density())
@example(SHOP, Density(frame="bracket", row_gap=0, label_width=1, track_spacing=0))
def test_boxes_are_inside_the_layout_and_do_not_overlap(shape: Graph, look: Density) -> None:
    layout = lay_out(order_graph(shape), look)
    assert set(layout.boxes) == set(shape.nodes)
    taken: set[tuple[int, int]] = set()
    for box in layout.boxes.values():
        covered = {(x, y) for x in range(box.x, box.x + box.width) for y in range(box.y, box.y + box.height)}
        assert taken.isdisjoint(covered)
        taken |= covered
        assert box.x >= 0 and box.x + box.width <= layout.width
        assert box.y >= 0 and box.y + box.height <= layout.height
        assert box.y <= box.row < box.y + box.height


@MANY
@given(shapes(), LOOKS)
@example(SHOP, Density())
def test_lines_avoid_boxes_and_never_share_cells(shape: Graph, look: Density) -> None:
    layout = lay_out(order_graph(shape), look)
    assert set(layout.routes) == set(shape.edges())
    boxes = {
        (x, y)
        for box in layout.boxes.values()
        for x in range(box.x, box.x + box.width)
        for y in range(box.y, box.y + box.height)
    }
    for at, owners in masks(layout).items():
        assert at not in boxes
        assert 0 <= at[0] < layout.width and 0 <= at[1] < layout.height
        if len(owners) > 1:
            assert sorted(owners.values()) == sorted([UP | DOWN, LEFT | RIGHT])


@MANY
@given(shapes(), LOOKS)
def test_lines_start_and_end_next_to_their_boxes(shape: Graph, look: Density) -> None:
    layout = lay_out(order_graph(shape), look)
    for (a, b), route in layout.routes.items():
        forward = route.bundle.forward
        (x, y), caller = route.points[0], layout.boxes[a]
        assert x == (caller.x + caller.width if forward else caller.x - 1)
        assert caller.y <= y < caller.y + caller.height
        (x, y), callee = route.points[-1], layout.boxes[b]
        assert x == (callee.x - 1 if forward else callee.x + callee.width)
        assert callee.y <= y < callee.y + callee.height


@MANY
@given(shapes(), LOOKS)
@example(SHOP, Density(frame="bracket", row_gap=0, label_width=1, track_spacing=0))
@example(tiered(40, 110), Density(frame="bracket", row_gap=0, label_width=6, track_spacing=0))
def test_following_the_lines_yields_exactly_the_links(shape: Graph, look: Density) -> None:
    layout = lay_out(order_graph(shape), look)
    assert sorted(set(read(layout))) == list(shape.edges())


@MANY
@given(shapes(), LOOKS)
def test_labels_have_cells_of_their_own(shape: Graph, look: Density) -> None:
    layout = lay_out(order_graph(shape), look)
    lines = masks(layout)
    taken: set[tuple[int, int]] = set()
    for route in layout.routes.values():
        for cell in words(route, look):
            assert cell not in taken
            taken.add(cell)
            assert lines[cell] == {route.bundle: LEFT | RIGHT}


def words(route: EdgeRoute, look: Density) -> list[tuple[int, int]]:
    if route.label is None:
        return []
    x, y = route.label
    return [(x + n, y) for n in range(look.label_width)]


@MANY
@given(shapes(), LOOKS, st.randoms(use_true_random=False))
def test_the_same_graph_has_the_same_layout(shape: Graph, look: Density, dice: st.DataObject) -> None:
    layout = lay_out(order_graph(shape), look)
    nodes, links = list(shape.nodes), list(shape.links)
    dice.shuffle(nodes)  # type: ignore[attr-defined]
    dice.shuffle(links)  # type: ignore[attr-defined]
    again = Graph(tuple(nodes), tuple(links), shape.roots, shape.width)
    assert lay_out(order_graph(again), look) == layout


@MANY
@given(shapes(), LOOKS)
def test_links_point_right_unless_they_close_a_cycle(shape: Graph, look: Density) -> None:
    graph = order_graph(shape)
    back = [link for link in shape.edges() if graph.layers[link[0]] >= graph.layers[link[1]]]
    for a, b in back:
        assert graph.layers[a] > graph.layers[b]
        assert a in _reached(b, shape)


def _reached(start: str, shape: Graph) -> set[str]:
    cells_by_position, todo = {start}, [start]
    while todo:
        at = todo.pop()
        for a, b in shape.edges():
            if a == at and b not in cells_by_position:
                cells_by_position.add(b)
                todo.append(b)
    return cells_by_position
