"""A layout as rows of text: lines by state, words on them, boxes above all.

Only rows that are seen are made, each from the cells that a layout fixes and the states of this moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from rich.cells import cell_len, split_graphemes

from meshwright.tui.format import Tone, pad
from meshwright.tui.graph.box_drawing import HORIZONTAL, glyph
from meshwright.tui.graph.graph import Link
from meshwright.tui.graph.model import Layout, NodeBox
from meshwright.tui.graph.raster import Owner, cells_in_row, row_spans

BUCKET_ROWS = 8
"""Rows that are looked up together for the lines that pass them."""


class CellStyle(NamedTuple):
    """How text looks: a tone of the theme, and whether it is what was picked."""

    tone: Tone = "plain"
    selected: bool = False


@dataclass(frozen=True, slots=True)
class EdgeStyle:
    """A link at this moment: `rank` decides which line is seen where two cross."""

    tone: Tone = "dim"
    rank: int = 1
    label: str = ""


@dataclass(frozen=True, slots=True)
class NodeStyle:
    """A node at this moment; `note` is said on the lower edge of its box."""

    symbol: str = "○"
    tone: Tone = "off"
    badge: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """All that changes between two layouts. Links that are not here leave their cells empty."""

    edges: Mapping[Link, EdgeStyle] = field(default_factory=dict)
    nodes: Mapping[str, NodeStyle] = field(default_factory=dict)
    selected_node: str = ""
    selected_link: Link | None = None


class _Strand(NamedTuple):
    """What one owner has in a cell: links and the arms of each."""

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
            route.points[-1]: "▶" if route.bundle.forward else "◀" for route in layout.routes.values()
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
        """What is in each cell of a row; found when the row is first drawn."""
        if y not in self._rows:
            countseses: dict[int, dict[Owner, dict[Link, int]]] = {}
            for link in self._links_near.get(y // BUCKET_ROWS, ()):
                for x, owner, arms in cells_in_row(self.layout.routes[link], y):
                    links = countseses.setdefault(x, {}).setdefault(owner, {})
                    links[link] = links.get(link, 0) | arms
            self._rows[y] = {
                x: tuple(_Strand(tuple(links.items())) for links in owners.values())
                for x, owners in countseses.items()
            }
        return self._rows[y]

    def link_at(self, x: int, y: int, scene: Scene) -> Link | None:
        """The link whose line alone is seen in a cell, or that whose words stand there."""
        for start, link in self._labels.get(y, ()):
            if start <= x < start + self.layout.routes[link].label_width and link in scene.edges:
                return link
        strands = self._cells(y).get(x, ())
        rows = [link for strand in strands for link, _ in strand.parts if link in scene.edges]
        return rows[0] if len(rows) == 1 else None

    def row(self, y: int, scene: Scene, window: range | None = None) -> list[tuple[str, CellStyle]]:
        """One row as runs of the same ink, in exactly the layout's width or the columns of the window."""
        window = window or range(self.layout.width)
        row: list[tuple[str, CellStyle]] = [(" ", CellStyle())] * self.layout.width
        cells = self._cells(y)
        for x in window if len(window) < len(cells) else cells:
            drawn = _line_cell(cells[x], scene, self._arrowheads.get((x, y), "")) if x in cells else None
            if drawn:
                row[x] = drawn
        for x, link in self._labels.get(y, ()):
            if link in scene.edges:
                _write_label(row, x, self.layout.routes[link].label_width, scene, link)
        for box in self._boxes.get(y, ()):
            at = box.x
            for text, ink in _box_row(box, y, self.layout, scene):
                for cell in _split_cells(text):
                    row[at] = (cell, ink)
                    at += 1
        seen = _clip(row, window)
        return [
            ("".join(text for text, _ in run), ink) for ink, run in groupby(seen, key=lambda cell: cell[1])
        ]


def _clip(row: list[tuple[str, CellStyle]], window: range) -> list[tuple[str, CellStyle]]:
    """A part of a row; a blank in place of a wide character that is cut in two."""
    seen = row[window.start : window.stop]
    if seen and not seen[0][0]:
        seen[0] = (" ", seen[0][1])
    if seen and window.stop < len(row) and not row[window.stop][0]:
        seen[-1] = (" ", seen[-1][1])
    return seen


def _line_cell(strands: Iterable[_Strand], scene: Scene, head: str) -> tuple[str, CellStyle] | None:
    """The character of a cell: where two lines cross, of the one in more trouble, else of the level one."""
    best: tuple[tuple[bool, int, bool], str, CellStyle] | None = None
    for strand in strands:
        arms = heavy = 0
        rank, tone = -1, CellStyle().tone
        near = False
        for link, mask in strand.parts:
            line = scene.edges.get(link)
            if line is None:
                continue
            arms |= mask
            if link == scene.selected_link:
                heavy |= mask
            near = near or scene.selected_node in link
            if line.rank > rank:
                rank, tone = line.rank, line.tone
        if not arms:
            continue
        picked = bool(heavy)
        if tone in ("dim", "off") and (picked or (near and not scene.selected_link)):
            tone = "accent"
        key = (picked, rank, arms & HORIZONTAL == HORIZONTAL)
        if best is None or key > best[0]:
            best = (key, head or glyph(arms, heavy), CellStyle(tone, picked))
    return (best[1], best[2]) if best else None


def _write_label(row: list[tuple[str, CellStyle]], x: int, room: int, scene: Scene, link: Link) -> None:
    """Words of a link amid its line, with a blank on both sides where there is room."""
    line = scene.edges[link]
    words = line.label
    if not words or cell_len(words) > room:
        return
    if room >= cell_len(words) + 2:
        words = f" {words} "
    at = x + (room - cell_len(words)) // 2
    tone: Tone = "plain" if line.tone == "dim" else line.tone
    for cell in _split_cells(words):
        row[at] = (cell, CellStyle(tone, link == scene.selected_link))
        at += 1


def _split_cells(text: str) -> list[str]:
    """Text by cells: what is seen as one character, and empty strings for the other cells that it takes."""
    texts: list[str] = []
    for start, end, width in split_graphemes(text)[0]:
        if width:
            texts += [text[start:end], *[""] * (width - 1)]
    return texts


def shorten(name: str, room: int) -> str:
    """A name in at most `room` cells; a long one keeps its beginning and its end."""
    cells = _split_cells(name)
    if len(cells) <= room:
        return "".join(cells)
    after = (room - 1) // 2
    begin, end = cells[: room - 1 - after], cells[len(cells) - after :] if after else []
    if cells[len(begin)] == "" and begin:
        begin = _drop_cut_character(begin)
    while end and end[0] == "":
        end = end[1:]
    return f"{''.join(begin)}…{''.join(end)}"


def _drop_cut_character(cells: list[str]) -> list[str]:
    """Without the wide character that is cut at the end."""
    last = max(n for n, cell in enumerate(cells) if cell)
    return cells[:last]


def _box_row(box: NodeBox, y: int, layout: Layout, scene: Scene) -> list[tuple[str, CellStyle]]:
    """One row of a box."""
    face = scene.nodes.get(box.name, NodeStyle())
    picked = box.name == scene.selected_node and scene.selected_link is None
    edge = CellStyle("accent" if picked else "off" if face.tone in ("good", "off") else face.tone, picked)
    inner = box.width - 2
    if layout.density.border:
        corners = "┏━┓┃┗┛" if picked else "╭─╮│╰╯"
        if y == box.y:
            return [(corners[0] + corners[1] * inner + corners[2], edge)]
        if y == box.y + box.height - 1:
            note = f" {face.badge} " if face.badge and cell_len(face.badge) + 4 <= inner else ""
            rest = corners[1] * (inner - cell_len(note) - 1)
            return [
                (corners[4] + rest, edge),
                (note, CellStyle(face.tone, picked)),
                (corners[1] + corners[5], edge),
            ]
        blank = " " if layout.density.frame == "box" else ""
        sides = (corners[3] + blank, blank + corners[3])
        inner -= 2 * len(blank)
    elif layout.density.frame == "bracket":
        sides = ("▐", "▌") if picked else ("[", "]")
        if box.height > 1 and not picked:
            sides = ("⎡", "⎤") if y == box.y else ("⎣", "⎦")
    else:
        sides, inner = ("", ""), box.width
    if y != box.row:
        return [(sides[0] + " " * inner + sides[1], edge)]
    value = "↻" if box.name in layout.self_loops else ""
    room = inner - 2 - 2 * bool(value)
    name = pad(shorten(box.name, room), room) + (f" {value}" if value else "")
    text = CellStyle("strong" if picked else "plain", picked)
    return [
        (sides[0], edge),
        (face.symbol, CellStyle(face.tone, picked)),
        ("▸" if picked and not sides[0] else " ", text),
        (name, text),
        (sides[1], edge),
    ]
