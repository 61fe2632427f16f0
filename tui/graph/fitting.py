"""The look that shows a graph whole in the room that there is, with as many words as that allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tui.graph.layout import Sorted, extent, labels, lay_out, rows_of
from tui.graph.plan import Layout, Look
from tui.graph.rows import Rows
from tui.graph.shape import Shape

SMALL = 80
"""Nodes up to which looks are tried; larger graphs are scrolled in any case."""

NAMES = (32, 20, 14, 10)
"""Cells of a name at most; longer ones are cut in the middle."""

WIDER = (3, 5, 7, 10, 13)
"""Cells in which more can be said of a link: `412`, `412/s`, `⏻ 39 %`, `◐ 38/s 2 %`, `38/s 502 ms`."""

_LOOKS = (
    Look("box", 1, 20, 1),
    Look("box", 1, 13, 1),
    Look("box", 0, 13, 1),
    Look("box", 1, 7, 1),
    Look("box", 0, 7, 0),
    Look("box", 1, 5, 0),
    Look("box", 0, 5, 0),
    Look("slim", 1, 13, 1),
    Look("slim", 0, 13, 1),
    Look("bracket", 0, 13, 1),
    Look("slim", 1, 5, 0),
    Look("slim", 0, 5, 0),
    Look("bracket", 1, 5, 0),
    Look("bracket", 0, 5, 0),
    Look("bare", 1, 5, 0),
    Look("bare", 0, 5, 0),
    Look("slim", 0, 3, 0),
    Look("bracket", 0, 3, 0),
    Look("bare", 1, 3, 0),
    Look("bare", 0, 3, 0),
    Look("slim", 1, 1, 0),
    Look("slim", 0, 1, 0),
    Look("bracket", 0, 1, 0),
    Look("bare", 1, 1, 0),
    Look("bare", 0, 1, 0),
)

SCROLLED = Look("bracket", gap=0, label=7, spacing=0, name=24)
"""Of a graph that does not fit."""


def fitted(graph: Sorted, width: int, height: int) -> Layout:
    """The graph laid out to be whole in `width` by `height` cells, else to be scrolled."""
    known: dict[tuple[int, int, int], Rows] = {}
    for look in _looks(graph.shape) if len(graph.shape.nodes) <= SMALL else ():
        key = (look.border, look.gap, look.spacing)
        found = known.get(key) or rows_of(graph, look)
        known[key] = found
        least = extent(graph, look, found)
        if least[0] > width or least[1] > height:
            continue
        layout = lay_out(graph, look, width, found, _rooms(graph, look, width - least[0]))
        if layout.width <= width and layout.height <= height:
            return layout
    return lay_out(graph, SCROLLED, width)


def _rooms(graph: Sorted, look: Look, spare: int) -> dict[int, int]:
    """Cells for words in each gap when what is left over is shared out, first to where most links are."""
    counted = labels(graph)
    rooms = dict.fromkeys(counted, look.label)
    for wanted in WIDER:
        for gap in sorted(counted, key=lambda gap: (-counted[gap], gap)):
            more = wanted - rooms[gap]
            if 0 < more <= spare:
                rooms[gap] = wanted
                spare -= more
    return rooms


def _looks(shape: Shape) -> Iterator[Look]:
    """From many words to few; names are cut before links lose their rates."""
    longest = max((shape.width.get(name, len(name)) for name in shape.nodes), default=0)
    names = [NAMES[0], *(name for name in NAMES[1:] if name < longest)]
    for name in names:
        yield from (replace(look, name=name) for look in _LOOKS if look.label > 1 or name == names[-1])
