"""Labels of edges at different widths."""

from __future__ import annotations

import pytest
from rich.cells import cell_len

from meshwright.tui.graph.density import fit_layout
from meshwright.tui.graph.drawing import Drawing
from meshwright.tui.graph.edge_labels import edge_label
from meshwright.tui.graph.layout import order_graph
from meshwright.tui.graph.viewport import GraphFilter, SeenLinks, TopologyIndex, build_scene, visible_graph
from tests.fakes.fixture_parts import edge
from tests.fakes.scenarios import shop

TERMINAL = (80, 16)
"""Cells of the graph in a terminal of 80x24."""


@pytest.mark.parametrize(
    ("rps", "success", "breaker", "words"),
    [
        (412, 1.0, "closed", ("412/s 20 ms", "412/s", "412")),
        (1240, 1.0, "none", ("1.2k/s", "1.2k", "1k")),
        (0.04, 1.0, "closed", ("<0.1/s", "<0.1", "<1")),
        (38, 0.93, "closed", ("▲ 38/s 7 %", "▲ 7 %", "▲7%", "▲")),
        (12.4, 0.61, "open", ("■ open 12/s 39 % 20 ms", "■ 12/s 39 %", "■ 39 %", "■39%", "■12", "■")),
        (0, 1.0, "closed", ("idle", "○")),
    ],
)
def test_a_short_label_keeps_what_is_wrong(
    rps: float, success: float, breaker: str, words: tuple[str, ...]
) -> None:
    link = edge("a", "b", rps, success, breaker=breaker)  # type: ignore[arg-type]
    assert tuple(edge_label(link, cell_len(each)) for each in words) == words


def test_twelve_services_at_80x24_have_a_figure_on_every_edge() -> None:
    topology = shop().topology
    layout = fit_layout(
        order_graph(visible_graph(topology, SeenLinks().updated(topology), GraphFilter())), *TERMINAL
    )
    assert layout.width <= TERMINAL[0] and layout.height <= TERMINAL[1]
    scene = build_scene(TopologyIndex.from_topology(topology), layout)
    rows = ["".join(text for text, _ in Drawing(layout).row(y, scene)) for y in range(layout.height)]
    for link, route in layout.routes.items():
        x, y = route.label or (0, 0)
        assert any(digit in rows[y][x : x + route.label_width] for digit in "0123456789"), link


def test_spare_width_goes_to_labels() -> None:
    topology = shop().topology
    graph = order_graph(visible_graph(topology, SeenLinks().updated(topology), GraphFilter()))
    rooms = [
        sum(route.label_width for route in fit_layout(graph, width, 16).routes.values())
        for width in (79, 82, 84, 88)
    ]
    assert rooms == sorted(rooms)
    assert rooms[0] < rooms[-1]
