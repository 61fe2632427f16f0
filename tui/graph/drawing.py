"""A layout as rows of text: lines by state, words on them, boxes above all.

Only rows that are seen are made, each from the cells that a layout fixes and the states of this moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from rich.cells import cell_len, split_graphemes

from tui.graph.cells import Owner, in_row, spans
from tui.graph.lines import FLAT, glyph
from tui.graph.plan import Box, Layout
from tui.graph.shape import Link
from tui.words import Tone, pad

BUCKET = 8
"""Rows that are looked up together for the lines that pass them."""


class Ink(NamedTuple):
    """How text looks: a tone of the theme, and whether it is what was picked."""

    tone: Tone = "plain"
    picked: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A link at this moment: `rank` decides which line is seen where two cross."""

    tone: Tone = "dim"
    rank: int = 1
    words: str = ""


@dataclass(frozen=True, slots=True)
class Face:
    """A node at this moment; `note` is said on the lower edge of its box."""

    sign: str = "○"
    tone: Tone = "off"
    note: str = ""


@dataclass(frozen=True, slots=True)
class Scene:
    """All that changes between two layouts. Links that are not here leave their cells empty."""

    lines: Mapping[Link, Line] = field(default_factory=dict)
    faces: Mapping[str, Face] = field(default_factory=dict)
    node: str = ""
    link: Link | None = None


class _Strand(NamedTuple):
    """What one owner has in a cell: links and the arms of each."""

    parts: tuple[tuple[Link, int], ...]


class Drawing:
    """A layout, ready to be drawn row by row."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self._rows: dict[int, dict[int, tuple[_Strand, ...]]] = {}
        self._near: dict[int, dict[Link, None]] = {}
        for link, route in layout.routes.items():
            for first, last in spans(route):
                for bucket in range(first // BUCKET, last // BUCKET + 1):
                    self._near.setdefault(bucket, {})[link] = None
        self._heads = {
            route.points[-1]: "▶" if route.net.forward else "◀" for route in layout.routes.values()
        }
        self._words: dict[int, list[tuple[int, Link]]] = {}
        for link, route in layout.routes.items():
            if route.label:
                self._words.setdefault(route.label[1], []).append((route.label[0], link))
        self._boxes: dict[int, list[Box]] = {}
        for box in layout.boxes.values():
            for y in range(box.y, box.y + box.height):
                self._boxes.setdefault(y, []).append(box)

    def _cells(self, y: int) -> dict[int, tuple[_Strand, ...]]:
        """What is in each cell of a row; found when the row is first drawn."""
        if y not in self._rows:
            found: dict[int, dict[Owner, dict[Link, int]]] = {}
            for link in self._near.get(y // BUCKET, ()):
                for x, owner, arms in in_row(self.layout.routes[link], y):
                    links = found.setdefault(x, {}).setdefault(owner, {})
                    links[link] = links.get(link, 0) | arms
            self._rows[y] = {
                x: tuple(_Strand(tuple(links.items())) for links in owners.values())
                for x, owners in found.items()
            }
        return self._rows[y]

    def link_at(self, x: int, y: int, scene: Scene) -> Link | None:
        """The link whose line alone is seen in a cell, or that whose words stand there."""
        for start, link in self._words.get(y, ()):
            if start <= x < start + self.layout.routes[link].room and link in scene.lines:
                return link
        strands = self._cells(y).get(x, ())
        found = [link for strand in strands for link, _ in strand.parts if link in scene.lines]
        return found[0] if len(found) == 1 else None

    def row(self, y: int, scene: Scene, window: range | None = None) -> list[tuple[str, Ink]]:
        """One row as runs of the same ink, in exactly the layout's width or the columns of the window."""
        window = window or range(self.layout.width)
        row: list[tuple[str, Ink]] = [(" ", Ink())] * self.layout.width
        cells = self._cells(y)
        for x in window if len(window) < len(cells) else cells:
            drawn = _stroke(cells[x], scene, self._heads.get((x, y), "")) if x in cells else None
            if drawn:
                row[x] = drawn
        for x, link in self._words.get(y, ()):
            if link in scene.lines:
                _write(row, x, self.layout.routes[link].room, scene, link)
        for box in self._boxes.get(y, ()):
            at = box.x
            for text, ink in _boxed(box, y, self.layout, scene):
                for cell in _cellwise(text):
                    row[at] = (cell, ink)
                    at += 1
        seen = _cut(row, window)
        return [
            ("".join(text for text, _ in run), ink) for ink, run in groupby(seen, key=lambda cell: cell[1])
        ]


def _cut(row: list[tuple[str, Ink]], window: range) -> list[tuple[str, Ink]]:
    """A part of a row; a blank in place of a wide character that is cut in two."""
    seen = row[window.start : window.stop]
    if seen and not seen[0][0]:
        seen[0] = (" ", seen[0][1])
    if seen and window.stop < len(row) and not row[window.stop][0]:
        seen[-1] = (" ", seen[-1][1])
    return seen


def _stroke(strands: Iterable[_Strand], scene: Scene, head: str) -> tuple[str, Ink] | None:
    """The character of a cell: where two lines cross, of the one in more trouble, else of the level one."""
    best: tuple[tuple[bool, int, bool], str, Ink] | None = None
    for strand in strands:
        arms = heavy = 0
        rank, tone = -1, Ink().tone
        near = False
        for link, mask in strand.parts:
            line = scene.lines.get(link)
            if line is None:
                continue
            arms |= mask
            if link == scene.link:
                heavy |= mask
            near = near or scene.node in link
            if line.rank > rank:
                rank, tone = line.rank, line.tone
        if not arms:
            continue
        picked = bool(heavy)
        if tone in ("dim", "off") and (picked or (near and not scene.link)):
            tone = "accent"
        key = (picked, rank, arms & FLAT == FLAT)
        if best is None or key > best[0]:
            best = (key, head or glyph(arms, heavy), Ink(tone, picked))
    return (best[1], best[2]) if best else None


def _write(row: list[tuple[str, Ink]], x: int, room: int, scene: Scene, link: Link) -> None:
    """Words of a link amid its line, with a blank on both sides where there is room."""
    line = scene.lines[link]
    words = line.words
    if not words or cell_len(words) > room:
        return
    if room >= cell_len(words) + 2:
        words = f" {words} "
    at = x + (room - cell_len(words)) // 2
    tone: Tone = "plain" if line.tone == "dim" else line.tone
    for cell in _cellwise(words):
        row[at] = (cell, Ink(tone, link == scene.link))
        at += 1


def _cellwise(text: str) -> list[str]:
    """Text by cells: what is seen as one character, and empty strings for the other cells that it takes."""
    found: list[str] = []
    for start, end, width in split_graphemes(text)[0]:
        if width:
            found += [text[start:end], *[""] * (width - 1)]
    return found


def shortened(name: str, room: int) -> str:
    """A name in at most `room` cells; a long one keeps its beginning and its end."""
    cells = _cellwise(name)
    if len(cells) <= room:
        return "".join(cells)
    after = (room - 1) // 2
    begin, end = cells[: room - 1 - after], cells[len(cells) - after :] if after else []
    if cells[len(begin)] == "" and begin:
        begin = _whole(begin)
    while end and end[0] == "":
        end = end[1:]
    return f"{''.join(begin)}…{''.join(end)}"


def _whole(cells: list[str]) -> list[str]:
    """Without the wide character that is cut at the end."""
    last = max(n for n, cell in enumerate(cells) if cell)
    return cells[:last]


def _boxed(box: Box, y: int, layout: Layout, scene: Scene) -> list[tuple[str, Ink]]:
    """One row of a box."""
    face = scene.faces.get(box.name, Face())
    picked = box.name == scene.node and scene.link is None
    edge = Ink("accent" if picked else "off" if face.tone in ("good", "off") else face.tone, picked)
    inner = box.width - 2
    if layout.look.border:
        corners = "┏━┓┃┗┛" if picked else "╭─╮│╰╯"
        if y == box.y:
            return [(corners[0] + corners[1] * inner + corners[2], edge)]
        if y == box.y + box.height - 1:
            note = f" {face.note} " if face.note and cell_len(face.note) + 4 <= inner else ""
            rest = corners[1] * (inner - cell_len(note) - 1)
            return [
                (corners[4] + rest, edge),
                (note, Ink(face.tone, picked)),
                (corners[1] + corners[5], edge),
            ]
        blank = " " if layout.look.frame == "box" else ""
        sides = (corners[3] + blank, blank + corners[3])
        inner -= 2 * len(blank)
    elif layout.look.frame == "bracket":
        sides = ("▐", "▌") if picked else ("[", "]")
        if box.height > 1 and not picked:
            sides = ("⎡", "⎤") if y == box.y else ("⎣", "⎦")
    else:
        sides, inner = ("", ""), box.width
    if y != box.row:
        return [(sides[0] + " " * inner + sides[1], edge)]
    own = "↻" if box.name in layout.selfish else ""
    room = inner - 2 - 2 * bool(own)
    name = pad(shortened(box.name, room), room) + (f" {own}" if own else "")
    text = Ink("strong" if picked else "plain", picked)
    return [
        (sides[0], edge),
        (face.sign, Ink(face.tone, picked)),
        ("▸" if picked and not sides[0] else " ", text),
        (name, text),
        (sides[1], edge),
    ]
