"""The layout of a graph: columns of boxes from left to right, and channels with the lines between them."""

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
    """The part of a layout that does not depend on the density: layers, bundles, and orders of the layers."""

    graph: Graph
    layers: Mapping[str, int]
    layered: LayeredGraph
    order: LayerOrder


def order_graph(graph: Graph, previous: Layout | None = None) -> OrderedGraph:
    """Layers and orders of a graph, close to those of the previous layout."""
    layers = assign_layers(graph)
    layered = insert_dummies(layers, graph.edges())
    components = connected_components(layers, graph.edges())
    components.sort(key=lambda names: (graph.roots.isdisjoint(names), names[0]))
    rank = {name: n for n, names in enumerate(components) for name in names}
    group: dict[LayerItem, int] = {
        item: rank[item.bundle.source if isinstance(item, DummyNode) else item]
        for items in layered.layers
        for item in items
    }
    order = reduce_crossings(layered, group, previous.item_rows if previous else {})
    return OrderedGraph(graph, layers, layered, order)


def row_layout(graph: OrderedGraph, density: Density) -> RowLayout:
    """The rows of a graph, which do not depend on the widths of labels and names."""
    return lay_out_rows(graph.order, graph.layered, density)


def extent(graph: OrderedGraph, density: Density, rows: RowLayout) -> tuple[int, int]:
    """Width and height of the nodes with links, at the minimum label width."""
    return _lay_out_columns(graph, rows, density).end, rows.height


def labels_per_gap(graph: OrderedGraph) -> Counter[int]:
    """The number of labels in each gap, by the layer left of it."""
    layers = graph.layers
    links = [(bundle_of(link, layers), link) for link in graph.graph.edges()]
    backward = Counter(bundle for bundle, _ in links if not bundle.forward)
    return Counter(
        [layers[link[1]] - 1 for bundle, link in links if bundle.forward]
        + [layers[bundle.source] - 1 for bundle, count in backward.items() if count == 1]
    )


def lay_out(
    graph: OrderedGraph,
    density: Density,
    max_width: int = 0,
    rows: RowLayout | None = None,
    label_widths: Mapping[int, int] | None = None,
) -> Layout:
    """Boxes and routes. Nodes without links are below, in rows of `max_width` cells or the graph's width.

    `label_widths`: by gap, where it is more than the density's.
    """
    rows = rows or row_layout(graph, density)
    columns = _lay_out_columns(graph, rows, density, label_widths)
    boxes = {name: _box(name, rows, columns, layer) for name, layer in graph.layers.items()}
    bundles = {link: bundle_of(link, graph.layers) for link in graph.graph.edges()}
    links = Counter(bundles.values())
    routes = {}
    for link, bundle in bundles.items():
        route = _route(link, bundle, graph, rows, columns)
        if not bundle.forward and links[bundle] == 1:
            gap = columns.gaps[graph.layers[link[0]] - 1]
            route = replace(route, label=(gap.label, route.points[0][1]), label_width=gap.label_width)
        routes[link] = route
    layout = Layout(
        density,
        boxes,
        routes,
        columns.end,
        rows.height,
        graph.graph.self_loops(),
        {item: float(rows.axis(item)) for item in rows.top},
    )
    return _place_unlinked(layout, graph.graph, max_width)


def box_widths(graph: Graph, density: Density) -> dict[str, int]:
    """Cells of each node's box: border, symbol, name, and the mark of a self-call."""
    border = {"box": 6, "slim": 4, "bracket": 4, "bare": 2}[density.frame]
    loops = graph.self_loops()
    least = density.card_width + border - 2 if density.card_rows else 0
    return {
        name: max(
            min(graph.width.get(name, len(name)), density.name_width) + border + 2 * (name in loops), least
        )
        for name in graph.nodes
    }


@dataclass(frozen=True, slots=True)
class _Gap:
    """The columns of a gap: arrowheads and merging lines on both sides, turns, labels."""

    left_head: int
    left_merge: int
    turns: int
    label: int
    label_width: int
    right_merge: int
    right_head: int


@dataclass(frozen=True, slots=True)
class _ColumnLayout:
    """First column and width of each layer, the gaps between them, and the total width."""

    x: tuple[int, ...]
    width: tuple[int, ...]
    gaps: tuple[_Gap, ...]
    end: int


def _lay_out_columns(
    graph: OrderedGraph, rows: RowLayout, density: Density, label_widths: Mapping[int, int] | None = None
) -> _ColumnLayout:
    boxes = box_widths(graph.graph, density)
    widths = [
        max((boxes[item] for item in items if not isinstance(item, DummyNode)), default=1)
        for items in graph.order
    ]
    starts, gaps, x = [], [], 0
    for n, width in enumerate(widths):
        starts.append(x)
        x += width
        if n < len(rows.channels):
            label_width = (label_widths or {}).get(n, density.label_width)
            gap = _gap(x, rows.channels[n], rows, density, label_width)
            gaps.append(gap)
            x = gap.right_head + 1
    return _ColumnLayout(tuple(starts), tuple(widths), tuple(gaps), x)


def _gap(x: int, routed: RoutedChannel, rows: RowLayout, density: Density, label_width: int) -> _Gap:
    targets = {
        (target, segment.bundle.forward)
        for segment in routed.exit_rows
        if not isinstance(target := segment.right if segment.bundle.forward else segment.left, DummyNode)
    }
    arriving = {
        side: max(
            (len(rows.side(name, left=side).arriving) for name, left in targets if left == side), default=0
        )
        for side in (True, False)
    }
    left_merge = x + (arriving[False] > 0)
    turns = left_merge + (arriving[False] > 1) + 1
    label = turns + routed.channel.columns
    right_merge = label + label_width + (not density.compact)
    return _Gap(x, left_merge, turns, label, label_width, right_merge, right_merge + (arriving[True] > 1))


def _box(name: str, rows: RowLayout, columns: _ColumnLayout, layer: int) -> NodeBox:
    frame, top = rows.frames[name], rows.top[name]
    return NodeBox(
        name, columns.x[layer], top + frame.top, columns.width[layer], frame.height, rows.axis(name), layer
    )


def _route(
    link: Link, bundle: EdgeBundle, graph: OrderedGraph, rows: RowLayout, columns: _ColumnLayout
) -> EdgeRoute:
    """From the caller's box through each channel to the arrowhead at the callee's box."""
    forward, last = bundle.forward, graph.layers[link[1]]
    points: list[Point] = []
    here: LayerItem = bundle.source
    layer, exit_row = graph.layers[link[0]], 0
    gap = columns.gaps[layer if forward else layer - 1]
    while layer != last:
        layer, n = (layer + 1, layer) if forward else (layer - 1, layer - 1)
        routed, gap = rows.channels[n], columns.gaps[n]
        entry_row = routed.entry_rows[bundle]
        ahead: LayerItem = link[1] if layer == last else DummyNode(bundle, layer)
        segment = BundleSegment(bundle, here, ahead) if forward else BundleSegment(bundle, ahead, here)
        exit_row = routed.exit_rows[segment]
        if not points:
            points.append((gap.left_head if forward else gap.right_head, entry_row))
        points += _corners(bundle, (entry_row, exit_row), routed.channel.tracks[bundle], gap)
        here = ahead
    side = rows.side(link[1], left=forward)
    head = arrowhead_row(side, rows.axis(link[1]), forward=forward)
    separate, shared = _end_points(bundle, exit_row, head, gap, merged=len(side.arriving) > 1)
    label = (gap.label, exit_row) if forward else None
    bundle_points = len(points) + len(separate)
    return EdgeRoute(
        link, bundle, (*points, *separate, *shared), bundle_points, label, gap.label_width if label else 0
    )


def _corners(bundle: EdgeBundle, rows: tuple[int, int], track: Track, gap: _Gap) -> list[Point]:
    """Corners within a channel, from the row in which the bundle enters to that in which it leaves."""
    entry_row, exit_row = rows
    turns = [gap.turns + column for column in track.columns]
    if len(turns) == 2:
        near, far = turns if bundle.forward else (turns[1], turns[0])
        return [(near, entry_row), (near, track.via), (far, track.via), (far, exit_row)]
    return [(turns[0], entry_row), (turns[0], exit_row)] if turns and entry_row != exit_row else []


def _end_points(
    bundle: EdgeBundle, exit_row: int, head: int, gap: _Gap, *, merged: bool
) -> tuple[list[Point], list[Point]]:
    """The last points of a route: those of its bundle, and those shared with other links to the callee."""
    tip, merge = (gap.right_head, gap.right_merge) if bundle.forward else (gap.left_head, gap.left_merge)
    if not merged:
        return [(tip, head)], []
    before = merge - 1 if bundle.forward else merge + 1
    corner = [(merge, exit_row), (merge, head)] if exit_row != head else [(merge, exit_row)]
    return [(before, exit_row)], [*corner, (tip, head)]


def _place_unlinked(layout: Layout, graph: Graph, max_width: int) -> Layout:
    """Place nodes without links in rows below the graph."""
    names = [name for name in sorted(graph.nodes) if name not in layout.boxes]
    if not names:
        return layout
    density = layout.density
    max_width = max(max_width, layout.width)
    height, widths = 1 + density.card_rows + 2 * density.border, box_widths(graph, density)
    x, y, total = 0, layout.height + (1 if layout.height else 0), layout.width
    boxes = dict(layout.boxes)
    for name in names:
        if x and x + widths[name] > max_width:
            x, y = 0, y + height
        boxes[name] = NodeBox(name, x, y, widths[name], height, y + density.border)
        x += widths[name] + 2
        total = max(total, x - 2)
    return replace(layout, boxes=boxes, width=total, height=y + height)
