"""A layout as rows of text: lines in the colours of their states, labels on them, boxes on top.

Only visible rows are drawn, from the cells of the layout and the current states.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

from rich.cells import cell_len

from meshwright.tui.graph.box_drawing import HORIZONTAL, glyph
from meshwright.tui.graph.graph import Link
from meshwright.tui.graph.model import Layout, NodeBox
from meshwright.tui.graph.node_box import box_row, split_cells
from meshwright.tui.graph.raster import Owner, cells_in_row, row_spans
from meshwright.tui.graph.scene import CellStyle, CellTone, Scene

BUCKET_ROWS = 8
"""Rows per bucket of the index of lines by row."""


class _Strand(NamedTuple):
    """The part of one owner in a cell: links and the arms of each."""

    parts: tuple[tuple[Link, int], ...]


class Drawing:
    """A layout, ready to be drawn row by row."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._rows: dict[int, dict[int, tuple[_Strand, ...]]] = {}
        self._links_near: dict[int, dict[Link, None]] = {}
        for link, route in layout.routes.items():
            for first, last in row_spans(route):
                for bucket in range(first // BUCKET_ROWS, last // BUCKET_ROWS + 1):
                    self._links_near.setdefault(bucket, {})[link] = None
        self._arrowheads = {
            route.points[-1]: "►" if route.bundle.forward else "◄" for route in layout.routes.values()
        }
        self._labels: dict[int, list[tuple[int, Link]]] = {}
        for link, route in layout.routes.items():
            if route.label:
                self._labels.setdefault(route.label[1], []).append((route.label[0], link))
        self._boxes: dict[int, list[NodeBox]] = {}
        for box in layout.boxes.values():
            for y in range(box.y, box.y + box.height):
                self._boxes.setdefault(y, []).append(box)

    def _cells(self, y: int) -> dict[int, tuple[_Strand, ...]]:
        """The contents of each cell of a row, computed when it is first drawn."""
        if y not in self._rows:
            owners_by_column: dict[int, dict[Owner, dict[Link, int]]] = {}
            for link in self._links_near.get(y // BUCKET_ROWS, ()):
                for x, owner, arms in cells_in_row(self.layout.routes[link], y):
                    links = owners_by_column.setdefault(x, {}).setdefault(owner, {})
                    links[link] = links.get(link, 0) | arms
            self._rows[y] = {
                x: tuple(_Strand(tuple(links.items())) for links in owners.values())
                for x, owners in owners_by_column.items()
            }
        return self._rows[y]

    def link_at(self, x: int, y: int, scene: Scene) -> Link | None:
        """The only link in a cell, or the link whose label is there."""
        for start, link in self._labels.get(y, ()):
            if start <= x < start + self.layout.routes[link].label_width and link in scene.edges:
                return link
        strands = self._cells(y).get(x, ())
        links = [link for strand in strands for link, _ in strand.parts if link in scene.edges]
        return links[0] if len(links) == 1 else None

    def row(self, y: int, scene: Scene, window: range | None = None) -> list[tuple[str, CellStyle]]:
        """One row as runs of the same style, as wide as the layout or the window."""
        window = window or range(self.layout.width)
        row: list[tuple[str, CellStyle]] = [(" ", CellStyle())] * self.layout.width
        cells = self._cells(y)
        for x in window if len(window) < len(cells) else cells:
            cell = _line_cell(cells[x], scene, self._arrowheads.get((x, y), "")) if x in cells else None
            if cell:
                row[x] = cell
        for x, link in self._labels.get(y, ()):
            if link in scene.edges:
                _write_label(row, x, self.layout.routes[link].label_width, scene, link)
        for box in self._boxes.get(y, ()):
            x = box.x
            for text, style in box_row(box, y, self.layout, scene):
                for char in split_cells(text):
                    row[x] = (char, style)
                    x += 1
        visible = _clip(row, window)
        return [
            ("".join(text for text, _ in run), style)
            for style, run in groupby(visible, key=lambda cell: cell[1])
        ]


def _clip(row: list[tuple[str, CellStyle]], window: range) -> list[tuple[str, CellStyle]]:
    """A part of a row; a wide character that is cut becomes a blank."""
    visible = row[window.start : window.stop]
    if visible and not visible[0][0]:
        visible[0] = (" ", visible[0][1])
    if visible and window.stop < len(row) and not row[window.stop][0]:
        visible[-1] = (" ", visible[-1][1])
    return visible


def _line_cell(strands: Iterable[_Strand], scene: Scene, arrowhead: str) -> tuple[str, CellStyle] | None:
    """The character of a cell. Where two lines cross, the worse state is drawn, else the level line."""
    best: tuple[tuple[bool, int, bool], str, CellStyle] | None = None
    for strand in strands:
        arms = heavy = 0
        rank, tone = -1, CellStyle().tone
        near = False
        for link, mask in strand.parts:
            edge = scene.edges.get(link)
            if edge is None:
                continue
            arms |= mask
            if link == scene.selected_link:
                heavy |= mask
            near = near or scene.selected_node in link
            if edge.rank > rank:
                rank, tone = edge.rank, edge.tone
        if not arms:
            continue
        selected = bool(heavy)
        if tone in ("dim", "off") and (selected or (near and not scene.selected_link)):
            tone = "accent"
        key = (selected, rank, arms & HORIZONTAL == HORIZONTAL)
        if best is None or key > best[0]:
            best = (key, arrowhead or glyph(arms, heavy), CellStyle(tone, selected))
    return (best[1], best[2]) if best else None


def _write_label(row: list[tuple[str, CellStyle]], x: int, width: int, scene: Scene, link: Link) -> None:
    """Write a link's label into its line, with a blank on either side if there is room."""
    edge = scene.edges[link]
    label = edge.label
    if not label or cell_len(label) > width:
        return
    if width >= cell_len(label) + 2:
        label = f" {label} "
    column = x + (width - cell_len(label)) // 2
    tone: CellTone = "plain" if edge.tone == "dim" else edge.tone
    cells = split_cells(label)
    slow = edge.latency_tone != "plain" and label.rstrip().endswith(edge.latency)
    latency = len(cells) - len(edge.latency) - label.endswith(" ") if slow else len(cells)
    for n, char in enumerate(cells):
        shown = edge.latency_tone if n >= latency else tone
        row[column + n] = (char, CellStyle(shown, link == scene.selected_link))
