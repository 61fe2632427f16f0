"""Chooses the density at which a whole graph fits into the space, with labels as long as possible."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from meshwright.tui.graph.graph import Graph
from meshwright.tui.graph.layout import OrderedGraph, extent, labels_per_gap, lay_out, row_layout
from meshwright.tui.graph.model import Density, Layout
from meshwright.tui.graph.row_layout import RowLayout

FIT_LIMIT = 80
"""Nodes up to which densities are tried; larger graphs are scrolled anyway."""

NAME_WIDTHS = (32, 20, 14, 10)
"""Maximum cells of a name; longer names are cut in the middle."""

LABEL_WIDTHS = (3, 5, 7, 10, 13)
"""Cells from which a label can say more: `412`, `412/s`, `■ 39 %`, `▲ 38/s 2 %`, `38/s 502 ms`."""

_CARDS = tuple(
    Density("box", row_gap, label_width, 1, card_rows=rows, card_width=card_width)
    for rows in (3, 2, 1)
    for card_width in (22, 12)
    for row_gap, label_width in ((1, 20), (1, 13), (0, 13))
) + tuple(
    Density("box", row_gap, label_width, 0, card_rows=rows, card_width=12)
    for label_width in (7, 5)
    for rows in (3, 2)
    for row_gap in (1, 0)
)
"""Boxes with figures, for windows with room to spare: all figures in a row of 22 cells, or two of 12.

The last ones, of graphs with many columns, leave latencies to the boxes: edges have rates and failures.
"""

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

HOPELESS = 1.5
"""If the densest layout needs this many times the room, no other is tried: each takes tens of ms."""

SCROLLED_DENSITY = Density("bracket", row_gap=0, label_width=7, track_spacing=0, name_width=24)
"""The density of a graph that does not fit."""


def fit_layout(graph: OrderedGraph, width: int, height: int) -> Layout:
    """The graph laid out in `width` by `height` cells if it fits, else at the scrolled density."""
    row_layouts: dict[tuple[int, int, int, int], RowLayout] = {}

    def rows_of(density: Density) -> RowLayout:
        key = (density.border, density.row_gap, density.track_spacing, density.card_rows)
        rows = row_layouts.get(key) or row_layout(graph, density)
        row_layouts[key] = rows
        return rows

    densities = list(_densities(graph.graph)) if len(graph.graph.nodes) <= FIT_LIMIT else []
    if densities:
        least_width, least_height = extent(graph, densities[-1], rows_of(densities[-1]))
        if least_width > width * HOPELESS or least_height > height * HOPELESS:
            densities = []
    for density in densities:
        rows = rows_of(density)
        min_width, min_height = extent(graph, density, rows)
        if min_width > width or min_height > height:
            continue
        layout = lay_out(graph, density, width, rows, _label_widths(graph, density, width - min_width))
        if layout.width <= width and layout.height <= height:
            return layout
    return lay_out(graph, SCROLLED_DENSITY, width)


def _label_widths(graph: OrderedGraph, density: Density, spare: int) -> dict[int, int]:
    """Label widths of each gap when `spare` cells are shared out, to gaps with many labels first."""
    counts = labels_per_gap(graph)
    widths = dict.fromkeys(counts, density.label_width)
    for width in LABEL_WIDTHS:
        for gap in sorted(counts, key=lambda gap: (-counts[gap], gap)):
            more = width - widths[gap]
            if 0 < more <= spare:
                widths[gap] = width
                spare -= more
    return widths


def _densities(graph: Graph) -> Iterator[Density]:
    """Densities from loose to dense; cards first, and names are cut before labels lose their rates."""
    longest = max((graph.width.get(name, len(name)) for name in graph.nodes), default=0)
    yield from _CARDS
    name_widths = [NAME_WIDTHS[0], *(width for width in NAME_WIDTHS[1:] if width < longest)]
    for name_width in name_widths:
        yield from (
            replace(density, name_width=name_width)
            for density in _DENSITIES
            if density.label_width > 1 or name_width == name_widths[-1]
        )
