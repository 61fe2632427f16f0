"""What a layout is: boxes and routes on a grid of cells, x to the right and y down from 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from meshwright.tui.graph.bundles import EdgeBundle, LayerItem
from meshwright.tui.graph.graph import Link

Point = tuple[int, int]
"""x and y of a cell."""

MergeOwner = tuple[str, bool]
"""Owner of the last cells of links to a node, where lines of several callers join; True: from the left."""


FrameStyle = Literal["box", "slim", "bracket", "bare"]


@dataclass(frozen=True, slots=True)
class Density:
    """How a graph is drawn in the room that there is.

    `frame`: boxes with a border in 3 rows, the same without blanks at the sides, `[● orders]` in one row, or
    no more than `● orders`. `gap` free rows below each box, `label` cells at least for the words of a link,
    `spacing` free columns between lines, `name` cells of a name at most.
    """

    frame: FrameStyle = "box"
    row_gap: int = 1
    label_width: int = 13
    track_spacing: int = 1
    name_width: int = 32

    @property
    def compact(self) -> bool:
        """Whether nothing is spent on looks."""
        return self.label_width <= 5

    @property
    def unitless(self) -> bool:
        """Whether figures stand without their unit."""
        return self.label_width < 5

    @property
    def border(self) -> int:
        """Rows of a box's border above and below its name."""
        return 1 if self.frame in ("box", "slim") else 0


UNLINKED = -1
"""The layer of nodes without links, which stand in rows below all others."""


@dataclass(frozen=True, slots=True)
class NodeBox:
    """A node's place; `row` is where its name stands."""

    name: str
    x: int
    y: int
    width: int
    height: int
    row: int
    layer: int = UNLINKED

    def contains(self, x: int, y: int) -> bool:
        """Whether a cell is inside."""
        return self.x <= x < self.x + self.width and self.y <= y < self.y + self.height


@dataclass(frozen=True, slots=True)
class EdgeRoute:
    """The line of a link: corners from beside its caller to its arrow head beside its callee.

    `lone`: how many of the points belong to the net; the rest to all links into the callee from this side.
    `label`: the cell where its words begin, near its head; near its caller where the line leads to the left;
    None where it branches there. `room`: cells for them.
    """

    link: Link
    bundle: EdgeBundle
    points: tuple[Point, ...]
    bundle_points: int
    label: Point | None = None
    label_width: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """A graph laid out. `standing`: rows of all items, from which the next layout starts."""

    density: Density
    boxes: Mapping[str, NodeBox] = field(default_factory=dict)
    routes: Mapping[Link, EdgeRoute] = field(default_factory=dict)
    width: int = 0
    height: int = 0
    self_loops: frozenset[str] = frozenset()
    item_rows: Mapping[LayerItem, float] = field(default_factory=dict)

    def box_at(self, x: int, y: int) -> NodeBox | None:
        """The box at a cell."""
        return next((box for box in self.boxes.values() if box.contains(x, y)), None)
