"""Drawings: goldens, and properties of every row.

`UPDATE_GOLDEN=1 pytest tests/tui/graph` updates the goldens; look at them before you commit them.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from meshwright.control_plane.api.models.topology import Topology, TopologyEdge, TopologyNode
from meshwright.tui.graph.density import fit_layout
from meshwright.tui.graph.drawing import Drawing
from meshwright.tui.graph.graph import Graph
from meshwright.tui.graph.layout import lay_out, order_graph
from meshwright.tui.graph.model import Density, Layout
from meshwright.tui.graph.node_box import shorten
from meshwright.tui.graph.scene import CellStyle, EdgeStyle, NodeStyle, Scene
from meshwright.tui.graph.viewport import (
    GraphFilter,
    SeenLinks,
    TopologyIndex,
    build_scene,
    caller_hues,
    edge_style,
    visible_graph,
)
from tests.fakes.fixture_parts import edge
from tests.tui.graph.sample_graphs import EXCHANGE, SHOP, shapes, tiered

GOLDENS = Path(__file__).parent / "goldens"
ROOMS = {"80x24": (80, 16), "120x40": (120, 32), "200x60": (200, 52)}
"""Cells of the graph in a terminal of that size."""


def topology(shape: Graph) -> Topology:
    """Traffic on every link; orders is degraded, its circuit breaker for inventory is open."""
    edges = []
    for n, (a, b) in enumerate(shape.links):
        bad = b == "inventory"
        edges.append(
            TopologyEdge(
                from_=a,
                to=b,
                protocol="grpc" if b == "analytics" else "http",
                health="unhealthy" if bad else "degraded" if b == "orders" else "healthy",
                rps=(412.0, 38.2, 9.14, 0.4)[n % 4],
                success=0.61 if bad else 0.98 if b == "orders" else 1.0,
                p50_ms=4,
                p95_ms=20,
                p99_ms=(48.0, 7.9, 502.0)[n % 3],
                breaker="open" if bad else "closed",
                mtls=True,
            )
        )
    health = {"orders": "degraded", "inventory": "unhealthy", "mail": "unknown"}
    nodes = [
        TopologyNode(
            name=name,
            role="gateway" if name in shape.roots else "service",
            health=health.get(name, "healthy"),
            instances=2,
            healthy=1 if name in health else 2,
        )
        for name in shape.nodes
    ]
    return Topology(nodes=tuple(nodes), edges=tuple(edges))


def drawn(shape: Graph, room: tuple[int, int], picked: Scene | None = None) -> tuple[Layout, list[str]]:
    """The drawing of a graph as lines of text."""
    seen = topology(shape)
    layout = fit_layout(order_graph(visible_graph(seen, SeenLinks().updated(seen), GraphFilter())), *room)
    drawing, scene = Drawing(layout), build_scene(TopologyIndex.from_topology(seen), layout, picked)
    return layout, ["".join(text for text, _ in drawing.row(y, scene)) for y in range(layout.height)]


@pytest.mark.parametrize("size", ROOMS)
@pytest.mark.parametrize("name", ["exchange", "shop"])
def test_drawings_equal_the_goldens(name: str, size: str) -> None:
    _, lines = drawn({"exchange": EXCHANGE, "shop": SHOP}[name], ROOMS[size], Scene(selected_node="orders"))
    picture = "".join(f"{line.rstrip()}\n" for line in lines)
    path = GOLDENS / f"{name}_{size}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(picture, encoding="utf-8")
    assert picture == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("size", ROOMS)
@pytest.mark.parametrize("shape", [EXCHANGE, SHOP], ids=["exchange", "shop"])
def test_meshes_of_six_and_twelve_services_fit_whole(shape: Graph, size: str) -> None:
    layout, lines = drawn(shape, ROOMS[size])
    width, height = ROOMS[size]
    assert layout.width <= width and layout.height <= height
    for name in shape.nodes:
        assert sum(f" {name}" in line for line in lines) == 1


@settings(max_examples=60, deadline=None)
@given(shapes(), st.sampled_from(list(ROOMS.values())), st.data())
def test_every_row_is_as_wide_as_the_layout(shape: Graph, room: tuple[int, int], data: st.DataObject) -> None:
    names = {name: data.draw(st.text("aé漢字🚀x\u0301", min_size=1, max_size=40)) for name in shape.nodes}
    other = {name: f"{text}{name}" for name, text in names.items()}
    renamed = Graph(
        tuple(other.values()),
        tuple((other[a], other[b]) for a, b in shape.links),
        frozenset(other[name] for name in shape.roots),
    )
    layout, lines = drawn(renamed, room)
    assert [cell_len(line) for line in lines] == [layout.width] * layout.height


@settings(max_examples=40, deadline=None)
@given(shapes(), st.data())
def test_a_window_equals_that_part_of_the_row(shape: Graph, data: st.DataObject) -> None:
    seen = topology(shape)
    layout = fit_layout(order_graph(shape), 40, 10)
    drawing, scene = Drawing(layout), build_scene(TopologyIndex.from_topology(seen), layout)
    first = data.draw(st.integers(0, layout.width))
    window = range(first, data.draw(st.integers(first, layout.width)))
    for y in range(layout.height):
        full = "".join(text for text, _ in drawing.row(y, scene))
        part = "".join(text for text, _ in drawing.row(y, scene, window)) if window else ""
        assert part == full[window.start : window.stop]


def test_a_wide_character_at_the_edge_of_a_window_is_a_blank() -> None:
    shape = Graph(("漢字",), width={"漢字": 4})
    drawing = Drawing(lay_out(order_graph(shape), Density()))
    row = "".join(text for text, _ in drawing.row(1, Scene()))
    assert row == "│ ○ 漢字 │"
    assert "".join(text for text, _ in drawing.row(1, Scene(), range(5, 7))) == "  "


def test_a_link_without_traffic_leaves_its_cells_empty() -> None:
    shape = Graph(("a", "b", "c"), (("a", "b"), ("a", "c")), frozenset("a"))
    layout = fit_layout(order_graph(shape), 80, 20)
    full = Scene(edges={("a", "b"): EdgeStyle(), ("a", "c"): EdgeStyle()})
    part = Scene(edges={("a", "b"): EdgeStyle()})
    drawing = Drawing(layout)
    head = layout.routes["a", "c"].points[-1]
    for scene, sign in ((full, "►"), (part, " ")):
        row = "".join(text for text, _ in drawing.row(head[1], scene))
        assert row[head[0]] == sign


def test_where_lines_cross_the_worse_state_is_drawn_and_the_selection_on_top() -> None:
    shape = Graph(tuple("abcd"), (("a", "d"), ("b", "c"), ("a", "c"), ("b", "d")))
    layout = fit_layout(order_graph(shape), 80, 20)
    drawing = Drawing(layout)
    calm = dict.fromkeys(shape.links, EdgeStyle())

    def tones(scene: Scene) -> set[CellStyle]:
        return {ink for y in range(layout.height) for text, ink in drawing.row(y, scene) if text.strip("│─ ")}

    bad = Scene(edges={**calm, ("a", "d"): EdgeStyle("bad", 3, "×")})
    assert CellStyle("bad") in tones(bad)
    assert CellStyle("bad") not in tones(Scene(edges=calm))
    picked = Scene(edges=calm, selected_node="a", selected_link=("a", "d"))
    text = ["".join(t for t, _ in drawing.row(y, picked)) for y in range(layout.height)]
    assert any("━" in line for line in text)


def test_a_slow_p99_is_coloured_whatever_the_state_of_its_edge() -> None:
    shape = Graph(("a", "b"), (("a", "b"),))
    drawing = Drawing(fit_layout(order_graph(shape), 80, 20))

    def tones(p99_ms: float) -> dict[str, str]:
        calls = edge("a", "b", 30, 1.0, p99_ms)
        scene = Scene(edges={("a", "b"): edge_style(calls, drawing.layout.routes["a", "b"].label_width)})
        return {text.strip(): ink.tone for y in range(4) for text, ink in drawing.row(y, scene)}

    assert {"30/s": "plain", "502 ms": "partial"}.items() <= tones(502).items()
    assert {"30/s": "plain", "2.1 s": "bad"}.items() <= tones(2100).items()
    assert tones(48)["30/s 48 ms"] == "plain"


@pytest.mark.parametrize(
    ("name", "room", "short"),
    [("orders", 8, "orders"), ("payments-eu-west-1", 9, "paym…st-1"), ("漢字漢字漢字", 7, "漢…字")],
)
def test_shorten_keeps_both_ends_of_a_name(name: str, room: int, short: str) -> None:
    assert shorten(name, room) == short
    assert cell_len(shorten(name, room)) <= room


def test_every_state_has_a_symbol_besides_its_colour() -> None:
    shape = Graph(("a",))
    drawing = Drawing(fit_layout(order_graph(shape), 80, 20))
    for sign in "●▲×○":
        scene = Scene(nodes={"a": NodeStyle(sign, "plain")})
        assert sign in "".join(text for y in range(3) for text, _ in drawing.row(y, scene))


def test_a_large_graph_is_drawn() -> None:
    layout, lines = drawn(tiered(100, 300), ROOMS["120x40"])
    assert layout.width > 120
    assert all(any(f" {name}" in line for line in lines) for name in layout.boxes)


@settings(max_examples=40, deadline=None)
@given(shapes())
def test_by_caller_healthy_edges_have_the_colours_of_their_callers(shape: Graph) -> None:
    layout = fit_layout(order_graph(shape), 80, 20)
    index = TopologyIndex.from_topology(topology(shape))
    plain, scene = (build_scene(index, layout, by_caller=each) for each in (False, True))
    hues = caller_hues(layout)
    for link, style in scene.edges.items():
        calm = plain.edges[link].tone in ("dim", "off")
        assert style.tone == (hues[link[0]] if calm else plain.edges[link].tone)
    assert {name: style.border for name, style in scene.nodes.items() if style.border} == hues
    columns: dict[int, list[str]] = {}
    for box in sorted((layout.boxes[name] for name in hues), key=lambda box: box.y):
        columns.setdefault(box.x, []).append(hues[box.name])
    for column in columns.values():
        assert all(above != below for above, below in pairwise(column))
