"""The look that shows a graph whole in the room that there is, with as many words as that allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from meshwright.tui.graph.graph import Graph
from meshwright.tui.graph.layout import OrderedGraph, extent, labels_per_gap, lay_out, row_layout
from meshwright.tui.graph.model import Density, Layout
from meshwright.tui.graph.row_layout import RowLayout

FIT_LIMIT = 80
"""Nodes up to which looks are tried; larger graphs are scrolled in any case."""

NAME_WIDTHS = (32, 20, 14, 10)
"""Cells of a name at most; longer ones are cut in the middle."""

LABEL_WIDTHS = (3, 5, 7, 10, 13)
"""Cells in which more can be said of a link: `412`, `412/s`, `⏻ 39 %`, `◐ 38/s 2 %`, `38/s 502 ms`."""

_DENSITIES = (
    Density("box", 1, 20, 1),
    Density("box", 1, 13, 1),
    Density("box", 0, 13, 1),
    Density("box", 1, 7, 1),
    Density("box", 0, 7, 0),
    Density("box", 1, 5, 0),
    Density("box", 0, 5, 0),
    Density("slim", 1, 13, 1),
    Density("slim", 0, 13, 1),
    Density("bracket", 0, 13, 1),
    Density("slim", 1, 5, 0),
    Density("slim", 0, 5, 0),
    Density("bracket", 1, 5, 0),
    Density("bracket", 0, 5, 0),
    Density("bare", 1, 5, 0),
    Density("bare", 0, 5, 0),
    Density("slim", 0, 3, 0),
    Density("bracket", 0, 3, 0),
    Density("bare", 1, 3, 0),
    Density("bare", 0, 3, 0),
    Density("slim", 1, 1, 0),
    Density("slim", 0, 1, 0),
    Density("bracket", 0, 1, 0),
    Density("bare", 1, 1, 0),
    Density("bare", 0, 1, 0),
)

SCROLLED_DENSITY = Density("bracket", row_gap=0, label_width=7, track_spacing=0, name_width=24)
"""Of a graph that does not fit."""


def fit_layout(graph: OrderedGraph, width: int, height: int) -> Layout:
    """The graph laid out to be whole in `width` by `height` cells, else to be scrolled."""
    row_layouts: dict[tuple[int, int, int], RowLayout] = {}
    for look in _densities(graph.graph) if len(graph.graph.nodes) <= FIT_LIMIT else ():
        key = (look.border, look.row_gap, look.track_spacing)
        result = row_layouts.get(key) or row_layout(graph, look)
        row_layouts[key] = result
        least = extent(graph, look, result)
        if least[0] > width or least[1] > height:
            continue
        layout = lay_out(graph, look, width, result, _label_widths(graph, look, width - least[0]))
        if layout.width <= width and layout.height <= height:
            return layout
    return lay_out(graph, SCROLLED_DENSITY, width)


def _label_widths(graph: OrderedGraph, look: Density, spare: int) -> dict[int, int]:
    """Cells for words in each gap when what is left over is shared out, first to where most links are."""
    counted = labels_per_gap(graph)
    rooms = dict.fromkeys(counted, look.label_width)
    for expected in LABEL_WIDTHS:
        for gap in sorted(counted, key=lambda gap: (-counted[gap], gap)):
            more = expected - rooms[gap]
            if 0 < more <= spare:
                rooms[gap] = expected
                spare -= more
    return rooms


def _densities(shape: Graph) -> Iterator[Density]:
    """From many words to few; names are cut before links lose their rates."""
    longest = max((shape.width.get(name, len(name)) for name in shape.nodes), default=0)
    names = [NAME_WIDTHS[0], *(name for name in NAME_WIDTHS[1:] if name < longest)]
    for name in names:
        yield from (
            replace(look, name_width=name) for look in _DENSITIES if look.label_width > 1 or name == names[-1]
        )
