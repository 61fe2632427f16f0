"""All rows of a layout: of boxes, of lines where they enter and leave each channel, and within it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from meshwright.tui.graph.bundles import BundleSegment, DummyNode, EdgeBundle, LayeredGraph, LayerItem
from meshwright.tui.graph.channel_routing import Channel, Pins, route_channel
from meshwright.tui.graph.crossing_reduction import LayerOrder
from meshwright.tui.graph.model import Density
from meshwright.tui.graph.ports import (
    EMPTY_SIDE,
    NodeFrame,
    NodeSide,
    arrival_rows,
    departure_row,
    node_frame,
    node_sides,
)
from meshwright.tui.graph.row_assignment import RowSlot, assign_rows


@dataclass(frozen=True, slots=True)
class RoutedChannel:
    """A channel with its lines: the row in which each net enters it, that in which each join leaves it."""

    entry_rows: Mapping[EdgeBundle, int]
    exit_rows: Mapping[BundleSegment, int]
    channel: Channel


@dataclass(frozen=True, slots=True)
class RowLayout:
    """Rows by item, and the passage between each two layers. `height` counts all rows in use."""

    left: Mapping[str, NodeSide]
    right: Mapping[str, NodeSide]
    frames: Mapping[str, NodeFrame]
    slots: Mapping[LayerItem, RowSlot]
    top: Mapping[LayerItem, int]
    channels: tuple[RoutedChannel, ...]
    height: int

    def axis(self, item: LayerItem) -> int:
        """The row of a node's name, or of a bend's line."""
        return self.top[item] + self.slots[item].axis

    def side(self, name: str, *, left: bool) -> NodeSide:
        """What meets a node on one side."""
        return (self.left if left else self.right).get(name, EMPTY_SIDE)


def lay_out_rows(order: LayerOrder, woven: LayeredGraph, look: Density) -> RowLayout:
    """Rows for a graph whose layers are in order."""
    left, right = node_sides(woven)
    names = [item for items in order for item in items if not isinstance(item, DummyNode)]
    stand = {
        name: node_frame(left.get(name, EMPTY_SIDE), right.get(name, EMPTY_SIDE), look) for name in names
    }
    slots: dict[LayerItem, RowSlot] = {
        item: RowSlot(1, 0) if isinstance(item, DummyNode) else stand[item].slot
        for items in order
        for item in items
    }
    top = assign_rows(order, woven, slots)
    bare = RowLayout(left, right, stand, slots, top, (), 0)
    passages = tuple(_route_segments(bare, between, look.track_spacing) for between in woven.segments)
    last = max((top[item] + slots[item].height for item in top), default=0) - (look.row_gap if top else 0)
    height = max([last, *(passage.channel.bottom for passage in passages)], default=0)
    return RowLayout(left, right, stand, slots, top, passages, height)


def _route_segments(row_layout: RowLayout, between: Iterable[BundleSegment], spacing: int) -> RoutedChannel:
    enter: dict[EdgeBundle, int] = {}
    for join in between:
        item = join.left if join.bundle.forward else join.right
        enter[join.bundle] = (
            row_layout.top[item]
            if isinstance(item, DummyNode)
            else departure_row(
                row_layout.side(item, left=not join.bundle.forward),
                row_layout.axis(item),
                forward=join.bundle.forward,
            )
        )
    leave: dict[BundleSegment, int] = {}
    for join in between:
        item = join.right if join.bundle.forward else join.left
        if isinstance(item, DummyNode):
            leave[join] = row_layout.top[item]
        elif join not in leave:
            side = row_layout.side(item, left=join.bundle.forward)
            leave.update(
                arrival_rows(
                    side, row_layout.top[item], row_layout.slots[item], enter, forward=join.bundle.forward
                )
            )
    far: dict[EdgeBundle, list[int]] = {}
    for join, row in leave.items():
        far.setdefault(join.bundle, []).append(row)
    pins = {
        net: Pins((enter[net],), tuple(sorted(ends)))
        if net.forward
        else Pins(tuple(sorted(ends)), (enter[net],))
        for net, ends in far.items()
    }
    return RoutedChannel(enter, leave, route_channel(pins, spacing))
