"""All rows of a layout: of boxes, and of lines where they enter, cross and leave each channel."""

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
    """A channel with the row in which each bundle enters it, and that in which each segment leaves it."""

    entry_rows: Mapping[EdgeBundle, int]
    exit_rows: Mapping[BundleSegment, int]
    channel: Channel


@dataclass(frozen=True, slots=True)
class RowLayout:
    """Rows by item, and the channels between the layers. `height`: the number of rows in use."""

    left: Mapping[str, NodeSide]
    right: Mapping[str, NodeSide]
    frames: Mapping[str, NodeFrame]
    slots: Mapping[LayerItem, RowSlot]
    top: Mapping[LayerItem, int]
    channels: tuple[RoutedChannel, ...]
    height: int

    def axis(self, item: LayerItem) -> int:
        """The row of a node's name, or of a dummy node's line."""
        return self.top[item] + self.slots[item].axis

    def side(self, name: str, *, left: bool) -> NodeSide:
        """The lines on one side of a node."""
        return (self.left if left else self.right).get(name, EMPTY_SIDE)


def lay_out_rows(order: LayerOrder, graph: LayeredGraph, density: Density) -> RowLayout:
    """The rows of a graph whose layers are ordered."""
    left, right = node_sides(graph)
    names = [item for items in order for item in items if not isinstance(item, DummyNode)]
    frames = {
        name: node_frame(left.get(name, EMPTY_SIDE), right.get(name, EMPTY_SIDE), density) for name in names
    }
    slots: dict[LayerItem, RowSlot] = {
        item: RowSlot(1, 0) if isinstance(item, DummyNode) else frames[item].slot
        for items in order
        for item in items
    }
    top = assign_rows(order, graph, slots)
    rows = RowLayout(left, right, frames, slots, top, (), 0)
    channels = tuple(_route_segments(rows, between, density.track_spacing) for between in graph.segments)
    last = max((top[item] + slots[item].height for item in top), default=0) - (density.row_gap if top else 0)
    height = max([last, *(routed.channel.bottom for routed in channels)], default=0)
    return RowLayout(left, right, frames, slots, top, channels, height)


def _route_segments(rows: RowLayout, segments: Iterable[BundleSegment], spacing: int) -> RoutedChannel:
    entry_rows: dict[EdgeBundle, int] = {}
    for segment in segments:
        forward = segment.bundle.forward
        source = segment.left if forward else segment.right
        entry_rows[segment.bundle] = (
            rows.top[source]
            if isinstance(source, DummyNode)
            else departure_row(rows.side(source, left=not forward), rows.axis(source), forward=forward)
        )
    exit_rows: dict[BundleSegment, int] = {}
    for segment in segments:
        forward = segment.bundle.forward
        target = segment.right if forward else segment.left
        if isinstance(target, DummyNode):
            exit_rows[segment] = rows.top[target]
        elif segment not in exit_rows:
            side = rows.side(target, left=forward)
            exit_rows |= arrival_rows(side, rows.top[target], rows.slots[target], entry_rows, forward=forward)
    ends: dict[EdgeBundle, list[int]] = {}
    for segment, row in exit_rows.items():
        ends.setdefault(segment.bundle, []).append(row)
    pins = {
        bundle: Pins((entry_rows[bundle],), tuple(sorted(exits)))
        if bundle.forward
        else Pins(tuple(sorted(exits)), (entry_rows[bundle],))
        for bundle, exits in ends.items()
    }
    return RoutedChannel(entry_rows, exit_rows, route_channel(pins, spacing))
