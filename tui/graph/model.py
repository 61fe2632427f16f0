"""A finished layout: boxes and routes on a grid of cells, x to the right and y down, from 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from meshwright.tui.graph.bundles import EdgeBundle, LayerItem
from meshwright.tui.graph.graph import Link

Point = tuple[int, int]
"""x and y of a cell."""

MergeOwner = tuple[str, bool]
"""The owner of the last cells of links to a node, where several callers merge; True: from the left."""

FrameStyle = Literal["box", "slim", "bracket", "bare"]


@dataclass(frozen=True, slots=True)
class Density:
    """How densely a graph is drawn.

    `frame`: `box` is a border in 3 rows, `slim` the same without blanks at the sides, `bracket` is
    `[● orders]` in one row, `bare` is `● orders`. `row_gap`: free rows below each box. `label_width`: minimum
    cells for a link's label. `track_spacing`: free columns between lines. `name_width`: maximum cells of a
    name. `card_rows`: rows of at least `card_width` cells below the name, in boxes with a border, for
    figures, badges and a sparkline.
    """

    frame: FrameStyle = "box"
    row_gap: int = 1
    label_width: int = 13
    track_spacing: int = 1
    name_width: int = 32
    card_rows: int = 0
    card_width: int = 12

    @property
    def compact(self) -> bool:
        """Whether no cell is spent on looks."""
        return self.label_width <= 5

    @property
    def unitless(self) -> bool:
        """Whether figures have no unit."""
        return self.label_width < 5

    @property
    def border(self) -> int:
        """Rows of a box's border above and below its name."""
        return 1 if self.frame in ("box", "slim") else 0


UNLINKED = -1
"""The layer of nodes without links, which are in rows below all others."""


@dataclass(frozen=True, slots=True)
class NodeBox:
    """The box of a node; `row` has its name."""

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
    """The line of a link: corners from its caller's box to the arrowhead at its callee's box.

    `bundle_points`: how many of the points belong to the bundle; the others are shared by all links to the
    callee from this side. `label`: the cell where the label starts, near the arrowhead, or near the caller
    for a line to the left; None where the line branches there. `label_width`: cells of the label.
    """

    link: Link
    bundle: EdgeBundle
    points: tuple[Point, ...]
    bundle_points: int
    label: Point | None = None
    label_width: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """A graph that is laid out. `item_rows`: the row of each item, from which the next layout starts."""

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
