"""A graph laid out: columns of boxes from left to right, between them channels with the lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from tui.graph.channels import Trunk
from tui.graph.layers import layers
from tui.graph.nets import Bend, Item, Join, Net, Woven, net_of, weave
from tui.graph.ordering import Order, ordered
from tui.graph.plan import Box, Layout, Look, Point, Route
from tui.graph.rows import Passage, Rows, rows
from tui.graph.shape import Link, Shape, components
from tui.graph.sides import head_row


@dataclass(frozen=True, slots=True)
class Sorted:
    """What of a layout does not depend on how it looks: layers, nets, and the order in each layer."""

    shape: Shape
    layers: Mapping[str, int]
    woven: Woven
    order: Order


def sort(shape: Shape, before: Layout | None = None) -> Sorted:
    """Layers and order of a graph; `before` keeps what was there where it was."""
    found = layers(shape)
    woven = weave(found, shape.proper())
    groups = components(found, shape.proper())
    groups.sort(key=lambda names: (shape.roots.isdisjoint(names), names[0]))
    rank = {name: n for n, names in enumerate(groups) for name in names}
    group: dict[Item, int] = {
        item: rank[item.net.source if isinstance(item, Bend) else item]
        for items in woven.layers
        for item in items
    }
    return Sorted(shape, found, woven, ordered(woven, group, before.standing if before else {}))


def rows_of(graph: Sorted, look: Look) -> Rows:
    """The rows of a graph, which do not depend on the room for words and names."""
    return rows(graph.order, graph.woven, look)


def extent(graph: Sorted, look: Look, found: Rows) -> tuple[int, int]:
    """Width and height of what has links, before anything is routed."""
    return _columns(graph, found, look).end, found.height


def labels(graph: Sorted) -> Counter[int]:
    """How many links have their words in each gap, by the layer left of it."""
    found = graph.layers
    links = [(net_of(link, found), link) for link in graph.shape.proper()]
    backward = Counter(net for net, _ in links if not net.forward)
    return Counter(
        [found[link[1]] - 1 for net, link in links if net.forward]
        + [found[net.source] - 1 for net, count in backward.items() if count == 1]
    )


def lay_out(
    graph: Sorted,
    look: Look,
    across: int = 0,
    found: Rows | None = None,
    room: Mapping[int, int] | None = None,
) -> Layout:
    """Boxes and routes; nodes without links stand below, in rows of `across` cells or the graph's width.

    `room` are cells for words in gaps that have more of them than the look gives.
    """
    found = found or rows_of(graph, look)
    columns = _columns(graph, found, look, room)
    boxes = {name: _box(name, found, columns, layer) for name, layer in graph.layers.items()}
    nets = {link: net_of(link, graph.layers) for link in graph.shape.proper()}
    links = Counter(nets.values())
    routes = {}
    for link, net in nets.items():
        route = _route(link, net, graph, found, columns)
        if not net.forward and links[net] == 1:
            gap = columns.gaps[graph.layers[link[0]] - 1]
            route = replace(route, label=(gap.words, route.points[0][1]), room=gap.room)
        routes[link] = route
    laid = Layout(
        look,
        boxes,
        routes,
        columns.end,
        found.height,
        graph.shape.selfish(),
        {item: float(found.axis(item)) for item in found.top},
    )
    return _with_lonely(laid, graph.shape, across)


def box_widths(shape: Shape, look: Look) -> dict[str, int]:
    """Cells of each node's box: its border, its sign and its name, a mark where it calls itself."""
    border, own = {"box": 6, "slim": 4, "bracket": 4, "bare": 2}[look.frame], shape.selfish()
    return {
        name: min(shape.width.get(name, len(name)), look.name) + border + 2 * (name in own)
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
class _Columns:
    """The first column of each layer, its width, the gaps between, and the whole."""

    x: tuple[int, ...]
    width: tuple[int, ...]
    gaps: tuple[_Gap, ...]
    end: int


def _columns(graph: Sorted, found: Rows, look: Look, room: Mapping[int, int] | None = None) -> _Columns:
    boxes = box_widths(graph.shape, look)
    widths = [
        max((boxes[item] for item in items if not isinstance(item, Bend)), default=1) for items in graph.order
    ]
    starts, gaps, x = [], [], 0
    for n, width in enumerate(widths):
        starts.append(x)
        x += width
        if n < len(found.passages):
            gap = _gap(x, found.passages[n], found, look, (room or {}).get(n, look.label))
            gaps.append(gap)
            x = gap.right_head + 1
    return _Columns(tuple(starts), tuple(widths), tuple(gaps), x)


def _gap(x: int, passage: Passage, found: Rows, look: Look, room: int) -> _Gap:
    into = {
        (end, join.net.forward)
        for join in passage.leave
        if not isinstance(end := join.right if join.net.forward else join.left, Bend)
    }
    most = {
        side: max(
            (len(found.side(name, left=side).arriving) for name, left in into if left == side), default=0
        )
        for side in (True, False)
    }
    left_merge = x + (most[False] > 0)
    turns = left_merge + (most[False] > 1) + 1
    words = turns + passage.channel.columns
    right_merge = words + room + (not look.tight)
    return _Gap(x, left_merge, turns, words, room, right_merge, right_merge + (most[True] > 1))


def _box(name: str, found: Rows, columns: _Columns, layer: int) -> Box:
    stand, top = found.stand[name], found.top[name]
    return Box(
        name, columns.x[layer], top + stand.top, columns.width[layer], stand.height, found.axis(name), layer
    )


def _route(link: Link, net: Net, graph: Sorted, found: Rows, columns: _Columns) -> Route:
    """From beside the caller through each channel to the arrow head beside the callee."""
    forward, last = net.forward, graph.layers[link[1]]
    points: list[Point] = []
    here: Item = net.source
    at, leave = graph.layers[link[0]], 0
    gap = columns.gaps[at if forward else at - 1]
    while at != last:
        at, n = (at + 1, at) if forward else (at - 1, at - 1)
        passage, gap = found.passages[n], columns.gaps[n]
        enter = passage.enter[net]
        far: Item = link[1] if at == last else Bend(net, at)
        leave = passage.leave[Join(net, here, far) if forward else Join(net, far, here)]
        if not points:
            points.append((gap.left_head if forward else gap.right_head, enter))
        points += _turns(net, (enter, leave), passage.channel.trunks[net], gap)
        here = far
    side = found.side(link[1], left=forward)
    head = head_row(side, found.axis(link[1]), forward=forward)
    lone, end = _ending(net, leave, head, gap, joined=len(side.arriving) > 1)
    label = (gap.words, leave) if forward else None
    return Route(link, net, (*points, *lone, *end), len(points) + len(lone), label, gap.room if label else 0)


def _turns(net: Net, rows: tuple[int, int], trunk: Trunk, gap: _Gap) -> list[Point]:
    """Corners within a channel, from the row in which the net enters to that in which it leaves."""
    enter, leave = rows
    turns = [gap.turns + column for column in trunk.columns]
    if len(turns) == 2:
        near, far = turns if net.forward else (turns[1], turns[0])
        return [(near, enter), (near, trunk.via), (far, trunk.via), (far, leave)]
    return [(turns[0], enter), (turns[0], leave)] if turns and enter != leave else []


def _ending(net: Net, leave: int, head: int, gap: _Gap, *, joined: bool) -> tuple[list[Point], list[Point]]:
    """The last points of a route: those of its net, and those that it shares with others into the callee."""
    tip, merge = (gap.right_head, gap.right_merge) if net.forward else (gap.left_head, gap.left_merge)
    if not joined:
        return [(tip, head)], []
    before = merge - 1 if net.forward else merge + 1
    corner = [(merge, leave), (merge, head)] if leave != head else [(merge, leave)]
    return [(before, leave)], [*corner, (tip, head)]


def _with_lonely(laid: Layout, shape: Shape, across: int) -> Layout:
    """Nodes without links in rows below the graph."""
    names = [name for name in sorted(shape.nodes) if name not in laid.boxes]
    if not names:
        return laid
    look = laid.look
    across = max(across, laid.width)
    height, wides = 1 + 2 * look.border, box_widths(shape, look)
    x, y, width = 0, laid.height + (1 if laid.height else 0), laid.width
    boxes = dict(laid.boxes)
    for name in names:
        wide = wides[name]
        if x and x + wide > across:
            x, y = 0, y + height
        boxes[name] = Box(name, x, y, wide, height, y + look.border)
        x += wide + 2
        width = max(width, x - 2)
    return replace(laid, boxes=boxes, width=width, height=y + height)
