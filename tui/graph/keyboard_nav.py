"""Keyboard navigation: the nearest box in a direction, and the scroll position that shows it."""

from __future__ import annotations

from typing import Literal

from meshwright.tui.graph.model import UNLINKED, Layout, NodeBox

Direction = Literal["up", "down", "left", "right"]

ROW_COST = 3
"""Cost of a row aside, when moving left or right, against 100 for a layer ahead."""


def nearest_box(layout: Layout, name: str, direction: Direction) -> str:
    """The nearest box in a direction; the box itself if there is none."""
    here = layout.boxes.get(name)
    if here is None:
        return min(layout.boxes, key=lambda box: (layout.boxes[box].x, layout.boxes[box].row), default="")
    distances = [(_distance(layout, here, box, direction), box.name) for box in layout.boxes.values()]
    reachable = ((distance, box) for distance, box in distances if distance is not None)
    return min(reachable, default=((0.0, 0), name))[1]


def _distance(
    layout: Layout, here: NodeBox, other: NodeBox, direction: Direction
) -> tuple[float, int] | None:
    """The distance of a box in a direction; None if it is not in that direction."""
    if direction in ("left", "right"):
        ahead = other.x - here.x if direction == "right" else here.x - other.x
        if ahead <= 0:
            return None
        if here.layer == other.layer == UNLINKED and here.row == other.row:
            return ahead / 1000, other.row
        linked = (here.name, other.name) in layout.routes or (other.name, here.name) in layout.routes
        layers = abs(other.layer - here.layer) if UNLINKED not in (other.layer, here.layer) else ahead
        return layers * 100 + ROW_COST * abs(other.row - here.row) - 2 * linked, other.row
    ahead = other.row - here.row if direction == "down" else here.row - other.row
    if ahead <= 0:
        return None
    aside = max(other.x - (here.x + here.width), here.x - (other.x + other.width), -1) + 1
    return ahead + 1000 * (aside > 0) + aside, other.x


def scroll_start(start: int, size: int, first: int, last: int, margin: int = 1) -> int:
    """The new start of a window of `size` cells at `start`, so that it contains first..last."""
    if first - margin < start:
        return max(0, first - margin)
    if last + margin >= start + size:
        return min(max(0, first - margin), last + margin + 1 - size)
    return start
