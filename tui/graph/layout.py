"""A graph laid out: columns of boxes from left to right, between them channels with the lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from meshwright.tui.graph.bundles import (
    BundleSegment,
    DummyNode,
    EdgeBundle,
    LayeredGraph,
    LayerItem,
    bundle_of,
    insert_dummies,
)
from meshwright.tui.graph.channel_routing import Track
from meshwright.tui.graph.crossing_reduction import LayerOrder, reduce_crossings
from meshwright.tui.graph.graph import Graph, Link, connected_components
from meshwright.tui.graph.layers import assign_layers
from meshwright.tui.graph.model import Density, EdgeRoute, Layout, NodeBox, Point
from meshwright.tui.graph.ports import arrowhead_row
from meshwright.tui.graph.row_layout import RoutedChannel, RowLayout, lay_out_rows


@dataclass(frozen=True, slots=True)
class OrderedGraph:
    """What of a layout does not depend on how it looks: layers, nets, and the order in each layer."""

    graph: Graph
    layers: Mapping[str, int]
    layered: LayeredGraph
    order: LayerOrder


def order_graph(shape: Graph, before: Layout | None = None) -> OrderedGraph:
    """Layers and order of a graph; `before` keeps what was there where it was."""
    counts = assign_layers(shape)
    woven = insert_dummies(counts, shape.edges())
    groups = connected_components(counts, shape.edges())
    groups.sort(key=lambda names: (shape.roots.isdisjoint(names), names[0]))
    rank = {name: n for n, names in enumerate(groups) for name in names}
    group: dict[LayerItem, int] = {
        item: rank[item.bundle.source if isinstance(item, DummyNode) else item]
        for items in woven.layers
        for item in items
    }
    return OrderedGraph(
        shape, counts, woven, reduce_crossings(woven, group, before.item_rows if before else {})
    )


def row_layout(graph: OrderedGraph, look: Density) -> RowLayout:
    """The rows of a graph, which do not depend on the room for words and names."""
    return lay_out_rows(graph.order, graph.layered, look)


def extent(graph: OrderedGraph, look: Density, result: RowLayout) -> tuple[int, int]:
    """Width and height of what has links, before anything is routed."""
    return _lay_out_columns(graph, result, look).end, result.height


def labels_per_gap(graph: OrderedGraph) -> Counter[int]:
    """How many links have their words in each gap, by the layer left of it."""
    layers = graph.layers
    links = [(bundle_of(link, layers), link) for link in graph.graph.edges()]
    backward = Counter(net for net, _ in links if not net.forward)
    return Counter(
        [layers[link[1]] - 1 for net, link in links if net.forward]
        + [layers[net.source] - 1 for net, count in backward.items() if count == 1]
    )


def lay_out(
    graph: OrderedGraph,
    look: Density,
    across: int = 0,
    result: RowLayout | None = None,
    room: Mapping[int, int] | None = None,
) -> Layout:
    """Boxes and routes; nodes without links stand below, in rows of `across` cells or the graph's width.

    `room` are cells for words in gaps that have more of them than the look gives.
    """
    result = result or row_layout(graph, look)
    columns = _lay_out_columns(graph, result, look, room)
    boxes = {name: _box(name, result, columns, layer) for name, layer in graph.layers.items()}
    nets = {link: bundle_of(link, graph.layers) for link in graph.graph.edges()}
    links = Counter(nets.values())
    routes = {}
    for link, net in nets.items():
        route = _route(link, net, graph, result, columns)
        if not net.forward and links[net] == 1:
            gap = columns.gaps[graph.layers[link[0]] - 1]
            route = replace(route, label=(gap.words, route.points[0][1]), label_width=gap.room)
        routes[link] = route
    laid = Layout(
        look,
        boxes,
        routes,
        columns.end,
        result.height,
        graph.graph.self_loops(),
        {item: float(result.axis(item)) for item in result.top},
    )
    return _place_unlinked(laid, graph.graph, across)


def box_widths(shape: Graph, look: Density) -> dict[str, int]:
    """Cells of each node's box: its border, its sign and its name, a mark where it calls itself."""
    border, texts = {"box": 6, "slim": 4, "bracket": 4, "bare": 2}[look.frame], shape.self_loops()
    return {
        name: min(shape.width.get(name, len(name)), look.name_width) + border + 2 * (name in texts)
        for name in shape.nodes
    }


@dataclass(frozen=True, slots=True)
class _Gap:
    """The columns of a channel: arrow heads and joining lines on both sides, turns, room for words."""

    left_head: int
    left_merge: int
    turns: int
    words: int
    room: int
    right_merge: int
    right_head: int


@dataclass(frozen=True, slots=True)
class _ColumnLayout:
    """The first column of each layer, its width, the gaps between, and the whole."""

    x: tuple[int, ...]
    width: tuple[int, ...]
    gaps: tuple[_Gap, ...]
    end: int


def _lay_out_columns(
    graph: OrderedGraph, result: RowLayout, look: Density, room: Mapping[int, int] | None = None
) -> _ColumnLayout:
    boxes = box_widths(graph.graph, look)
    widths = [
        max((boxes[item] for item in items if not isinstance(item, DummyNode)), default=1)
        for items in graph.order
    ]
    starts, gaps, x = [], [], 0
    for n, width in enumerate(widths):
        starts.append(x)
        x += width
        if n < len(result.channels):
            gap = _gap(x, result.channels[n], result, look, (room or {}).get(n, look.label_width))
            gaps.append(gap)
            x = gap.right_head + 1
    return _ColumnLayout(tuple(starts), tuple(widths), tuple(gaps), x)


def _gap(x: int, passage: RoutedChannel, result: RowLayout, look: Density, room: int) -> _Gap:
    into = {
        (end, join.bundle.forward)
        for join in passage.exit_rows
        if not isinstance(end := join.right if join.bundle.forward else join.left, DummyNode)
    }
    most = {
        side: max(
            (len(result.side(name, left=side).arriving) for name, left in into if left == side), default=0
        )
        for side in (True, False)
    }
    left_merge = x + (most[False] > 0)
    turns = left_merge + (most[False] > 1) + 1
    words = turns + passage.channel.columns
    right_merge = words + room + (not look.compact)
    return _Gap(x, left_merge, turns, words, room, right_merge, right_merge + (most[True] > 1))


def _box(name: str, result: RowLayout, columns: _ColumnLayout, layer: int) -> NodeBox:
    stand, top = result.frames[name], result.top[name]
    return NodeBox(
        name, columns.x[layer], top + stand.top, columns.width[layer], stand.height, result.axis(name), layer
    )


def _route(
    link: Link, net: EdgeBundle, graph: OrderedGraph, result: RowLayout, columns: _ColumnLayout
) -> EdgeRoute:
    """From beside the caller through each channel to the arrow head beside the callee."""
    forward, last = net.forward, graph.layers[link[1]]
    points: list[Point] = []
    here: LayerItem = net.source
    at, leave = graph.layers[link[0]], 0
    gap = columns.gaps[at if forward else at - 1]
    while at != last:
        at, n = (at + 1, at) if forward else (at - 1, at - 1)
        passage, gap = result.channels[n], columns.gaps[n]
        enter = passage.entry_rows[net]
        far: LayerItem = link[1] if at == last else DummyNode(net, at)
        leave = passage.exit_rows[BundleSegment(net, here, far) if forward else BundleSegment(net, far, here)]
        if not points:
            points.append((gap.left_head if forward else gap.right_head, enter))
        points += _corners(net, (enter, leave), passage.channel.tracks[net], gap)
        here = far
    side = result.side(link[1], left=forward)
    head = arrowhead_row(side, result.axis(link[1]), forward=forward)
    lone, end = _end_points(net, leave, head, gap, joined=len(side.arriving) > 1)
    label = (gap.words, leave) if forward else None
    return EdgeRoute(
        link, net, (*points, *lone, *end), len(points) + len(lone), label, gap.room if label else 0
    )


def _corners(net: EdgeBundle, rows: tuple[int, int], trunk: Track, gap: _Gap) -> list[Point]:
    """Corners within a channel, from the row in which the net enters to that in which it leaves."""
    enter, leave = rows
    turns = [gap.turns + column for column in trunk.columns]
    if len(turns) == 2:
        near, far = turns if net.forward else (turns[1], turns[0])
        return [(near, enter), (near, trunk.via), (far, trunk.via), (far, leave)]
    return [(turns[0], enter), (turns[0], leave)] if turns and enter != leave else []


def _end_points(
    net: EdgeBundle, leave: int, head: int, gap: _Gap, *, joined: bool
) -> tuple[list[Point], list[Point]]:
    """The last points of a route: those of its net, and those that it shares with others into the callee."""
    tip, merge = (gap.right_head, gap.right_merge) if net.forward else (gap.left_head, gap.left_merge)
    if not joined:
        return [(tip, head)], []
    before = merge - 1 if net.forward else merge + 1
    corner = [(merge, leave), (merge, head)] if leave != head else [(merge, leave)]
    return [(before, leave)], [*corner, (tip, head)]


def _place_unlinked(laid: Layout, shape: Graph, across: int) -> Layout:
    """Nodes without links in rows below the graph."""
    names = [name for name in sorted(shape.nodes) if name not in laid.boxes]
    if not names:
        return laid
    look = laid.density
    across = max(across, laid.width)
    height, wides = 1 + 2 * look.border, box_widths(shape, look)
    x, y, width = 0, laid.height + (1 if laid.height else 0), laid.width
    boxes = dict(laid.boxes)
    for name in names:
        wide = wides[name]
        if x and x + wide > across:
            x, y = 0, y + height
        boxes[name] = NodeBox(name, x, y, wide, height, y + look.border)
        x += wide + 2
        width = max(width, x - 2)
    return replace(laid, boxes=boxes, width=width, height=y + height)
