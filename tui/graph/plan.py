"""What a layout is: boxes and routes on a grid of cells, x to the right and y down from 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tui.graph.nets import Item, Net
from tui.graph.shape import Link

Point = tuple[int, int]
"""x and y of a cell."""

Into = tuple[str, bool]
"""Owner of the last cells of links to a node, where lines of several callers join; True: from the left."""


Frame = Literal["box", "slim", "bracket", "bare"]


@dataclass(frozen=True, slots=True)
class Look:
    """How a graph is drawn in the room that there is.

    `frame`: boxes with a border in 3 rows, the same without blanks at the sides, `[● orders]` in one row, or
    no more than `● orders`. `gap` free rows below each box, `label` cells at least for the words of a link,
    `spacing` free columns between lines, `name` cells of a name at most.
    """

    frame: Frame = "box"
    gap: int = 1
    label: int = 13
    spacing: int = 1
    name: int = 32

    @property
    def tight(self) -> bool:
        """Whether nothing is spent on looks."""
        return self.label <= 5

    @property
    def terse(self) -> bool:
        """Whether figures stand without their unit."""
        return self.label < 5

    @property
    def border(self) -> int:
        """Rows of a box's border above and below its name."""
        return 1 if self.frame in ("box", "slim") else 0


LONELY = -1
"""The layer of nodes without links, which stand in rows below all others."""


@dataclass(frozen=True, slots=True)
class Box:
    """A node's place; `row` is where its name stands."""

    name: str
    x: int
    y: int
    width: int
    height: int
    row: int
    layer: int = LONELY

    def holds(self, x: int, y: int) -> bool:
        """Whether a cell is inside."""
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height


@dataclass(frozen=True, slots=True)
class Route:
    """The line of a link: corners from beside its caller to its arrow head beside its callee.

    `lone`: how many of the points belong to the net; the rest to all links into the callee from this side.
    `label`: the cell where its words begin, near its head; near its caller where the line leads to the left;
    None where it branches there. `room`: cells for them.
    """

    link: Link
    net: Net
    points: tuple[Point, ...]
    lone: int
    label: Point | None = None
    room: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """A graph laid out. `standing`: rows of all items, from which the next layout starts."""

    look: Look
    boxes: Mapping[str, Box] = field(default_factory=dict)
    routes: Mapping[Link, Route] = field(default_factory=dict)
    width: int = 0
    height: int = 0
    selfish: frozenset[str] = frozenset()
    standing: Mapping[Item, float] = field(default_factory=dict)

    def at(self, x: int, y: int) -> Box | None:
        """The box at a cell."""
        return next((box for box in self.boxes.values() if box.holds(x, y)), None)
