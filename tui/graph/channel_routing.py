"""Columns of lines between two layers, so that no two nets share a cell but where they cross.

A net has pins on the left (rows where it comes out of the left layer) and on the right. Level pins need no
column; all others get one, in which the net runs up and down. Where the same row holds a pin of one net on
the left and of another on the right, the first one's column must be left of the other's; a net in a circle
of such demands takes two columns, joined in a row that no pin uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meshwright.tui.graph.bundles import EdgeBundle

SPARE_COLUMNS = 3
"""Columns that an order with few crossings may cost."""

PAIRWISE_LIMIT = 40
"""Nets in a channel up to which pairs are compared to find an order with few crossings."""


@dataclass(frozen=True, slots=True)
class Pins:
    """Rows of a net on both sides of a channel; at least one on each."""

    left: tuple[int, ...]
    right: tuple[int, ...]

    def is_straight(self) -> bool:
        """Whether it is one straight line."""
        return self.left == self.right and len(self.left) == 1

    def span(self) -> tuple[int, int]:
        """First and last row."""
        rows = (*self.left, *self.right)
        return min(rows), max(rows)


@dataclass(frozen=True, slots=True)
class Track:
    """Columns (from 0) in which a net turns: none, one, or two that row `via` joins."""

    columns: tuple[int, ...] = ()
    via: int = 0


@dataclass(frozen=True, slots=True)
class Channel:
    """Trunks by net, how many columns they take, and the row after the last one they use."""

    tracks: Mapping[EdgeBundle, Track]
    columns: int
    bottom: int


@dataclass(frozen=True, slots=True)
class _TrackPart:
    """What takes one column: a net, or its left or right half."""

    bundle: EdgeBundle
    half: int
    first: int
    last: int


def route_channel(pins: Mapping[EdgeBundle, Pins], spacing: int) -> Channel:
    """Columns for all nets of a channel, `spacing` free ones between two of them."""
    trunks = {net: Track() for net, pin in pins.items() if pin.is_straight()}
    bent = {net: pin for net, pin in pins.items() if net not in trunks}
    taken = {row for pin in pins.values() for row in (*pin.left, *pin.right)}
    on_right = {row: net for net, item in bent.items() for row in item.right}
    before: dict[EdgeBundle, set[EdgeBundle]] = {net: set() for net in bent}
    for net, item in bent.items():
        for row in item.left:
            if on_right.get(row, net) != net:
                before[on_right[row]].add(net)
    parts, via = _split_cycles(_preferred_order(bent), before, bent, taken)
    columns = _pack_columns(parts, bent)
    for part in parts:
        held = trunks.get(part.bundle, Track()).columns
        trunks[part.bundle] = Track((*held, columns[part] * (1 + spacing)), via.get(part.bundle, 0))
    used = max(columns.values(), default=-1) + 1
    width = used + (used - 1) * spacing if used else 0
    return Channel(trunks, width, max((*taken, *via.values()), default=-1) + 1)


def _split_cycles(
    order: Sequence[EdgeBundle],
    before: Mapping[EdgeBundle, set[EdgeBundle]],
    pins: Mapping[EdgeBundle, Pins],
    taken: set[int],
) -> tuple[list[_TrackPart], dict[EdgeBundle, int]]:
    """Nets in an order that all demands allow, those that no order allows in two halves."""
    parts: list[_TrackPart] = []
    via: dict[EdgeBundle, int] = {}
    waiting, halved = list(order), dict[EdgeBundle, _TrackPart]()
    free = set(taken)
    done: set[EdgeBundle] = set()
    while waiting:
        net = next((edge_bundle for edge_bundle in waiting if before[edge_bundle] <= done), None)
        if net is not None:
            waiting.remove(net)
            first, last = pins[net].span()
            parts.append(halved.get(net) or _TrackPart(net, 0, first, last))
            done.add(net)
            continue
        net = next(edge_bundle for edge_bundle in waiting if edge_bundle not in halved)
        row = _free_row(pins[net], free)
        free.add(row)
        via[net] = row
        left, right = (*pins[net].left, row), (*pins[net].right, row)
        parts.append(_TrackPart(net, 1, min(left), max(left)))
        halved[net] = _TrackPart(net, 2, min(right), max(right))
        for edge_bundle in waiting:
            if edge_bundle != net:
                before[edge_bundle].discard(net)
    return parts, via


def _free_row(pins: Pins, taken: set[int]) -> int:
    """The row without a pin that is nearest to a net's own."""
    first, last = pins.span()
    middle = (first + last) // 2
    rows = range(max((*taken, last)) + 2)
    return min((row for row in rows if row not in taken), key=lambda row: (abs(row - middle), row))


def _pack_columns(parts: Sequence[_TrackPart], pins: Mapping[EdgeBundle, Pins]) -> dict[_TrackPart, int]:
    """Columns in which parts that run beside each other keep their order, unless that takes many columns."""
    columns = _first_fit(parts, pins, in_order=True)
    if max(columns.values(), default=0) <= SPARE_COLUMNS:
        return columns
    closer = _first_fit(parts, pins, in_order=False)
    return closer if max(closer.values()) + SPARE_COLUMNS < max(columns.values()) else columns


def _first_fit(
    parts: Sequence[_TrackPart], pins: Mapping[EdgeBundle, Pins], *, in_order: bool
) -> dict[_TrackPart, int]:
    """The first column for each part that is free there, and right of all that must be left of it."""
    columns: dict[_TrackPart, int] = {}
    held: list[list[_TrackPart]] = []
    for part in parts:
        least, taken = 0, set()
        for column, others in enumerate(held):
            for other in others:
                beside = other.first <= part.last and part.first <= other.last
                if beside:
                    taken.add(column)
                if (beside and in_order) or _must_follow(part, other, pins):
                    least = column + 1
        columns[part] = next(n for n in range(least, len(held) + 1) if n not in taken)
        if columns[part] == len(held):
            held.append([])
        held[columns[part]].append(part)
    return columns


def _must_follow(part: _TrackPart, other: _TrackPart, pins: Mapping[EdgeBundle, Pins]) -> bool:
    """Whether a row with a right pin of `part` has a left pin of `other`; halves of one net go in order."""
    if part.bundle == other.bundle:
        return True
    if part.half == 1 or other.half == 2:
        return False
    return not set(pins[part.bundle].right).isdisjoint(pins[other.bundle].left)


def _preferred_order(pins: Mapping[EdgeBundle, Pins]) -> list[EdgeBundle]:
    """Nets from left to right with few crossings: lower ones first where they go down, else upper ones."""

    def key(net: EdgeBundle) -> tuple[bool, float, EdgeBundle]:
        pin = pins[net]
        start, end = sum(pin.left) / len(pin.left), sum(pin.right) / len(pin.right)
        return (end <= start, start if end <= start else -start, net)

    order = sorted(pins, key=key)
    if len(order) > PAIRWISE_LIMIT:
        return order
    cost = {(a, b): _crossing_count(pins[a], pins[b]) for a in order for b in order if a != b}
    for _ in range(len(order)):
        moved = False
        for n in range(len(order) - 1):
            a, b = order[n], order[n + 1]
            if cost[b, a] < cost[a, b]:
                order[n], order[n + 1] = b, a
                moved = True
        if not moved:
            break
    return order


def _crossing_count(left: Pins, right: Pins) -> int:
    """How often two nets cross when the first one's column is left of the other's."""
    (a, b), (c, d) = left.span(), right.span()
    return sum(a <= row <= b for row in right.left) + sum(c <= row <= d for row in left.right)
