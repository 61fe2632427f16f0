"""Moving the selection: to the nearest box in a direction, and where to scroll so that it is seen."""

from __future__ import annotations

from typing import Literal

from meshwright.tui.graph.model import UNLINKED, Layout, NodeBox

Direction = Literal["up", "down", "left", "right"]

ROW_COST = 3
"""How much a row aside counts against a column ahead, when moving left or right: cells are twice as high."""


def nearest_box(layout: Layout, name: str, text: Direction) -> str:
    """The box that one gets to from another; the same where there is none that way."""
    here = layout.boxes.get(name)
    if here is None:
        return min(layout.boxes, key=lambda item: (layout.boxes[item].x, layout.boxes[item].row), default="")
    pairs = [(_distance(layout, here, box, text), box.name) for box in layout.boxes.values()]
    return min(((cost, item) for cost, item in pairs if cost is not None), default=((0.0, 0), name))[1]


def _distance(layout: Layout, here: NodeBox, other: NodeBox, text: Direction) -> tuple[float, int] | None:
    """How far a box is in a direction; None when it does not lie that way."""
    if text in ("left", "right"):
        ahead = other.x - here.x if text == "right" else here.x - other.x
        if ahead <= 0:
            return None
        if here.layer == other.layer == UNLINKED and here.row == other.row:
            return ahead / 1000, other.row
        linked = (here.name, other.name) in layout.routes or (other.name, here.name) in layout.routes
        layers = abs(other.layer - here.layer) if UNLINKED not in (other.layer, here.layer) else ahead
        return layers * 100 + ROW_COST * abs(other.row - here.row) - 2 * linked, other.row
    ahead = other.row - here.row if text == "down" else here.row - other.row
    if ahead <= 0:
        return None
    apart = max(other.x - (here.x + here.width), here.x - (other.x + other.width), -1) + 1
    return ahead + 1000 * (apart > 0) + apart, other.x


def scroll_start(start: int, room: int, first: int, last: int, margin: int = 1) -> int:
    """Where a window of `room` cells that starts at `start` must start so that first..last are seen."""
    if first - margin < start:
        return max(0, first - margin)
    if last + margin >= start + room:
        return min(max(0, first - margin), last + margin + 1 - room)
    return start
