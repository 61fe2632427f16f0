"""Routing between layers: columns for the lines, so that two bundles share a cell only to cross.

A bundle has pins on the left (rows in which it leaves the left layer) and on the right. Level pins need no
column. Any other bundle gets one, in which it runs up and down. Where one row has a pin of one bundle on the
left and of another on the right, the column of the first must be left of the column of the second. A bundle
in a cycle of such constraints gets two columns, joined in a row that has no pin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meshwright.tui.graph.bundles import EdgeBundle

SPARE_COLUMNS = 3
"""Columns that an order with few crossings may cost."""

PAIRWISE_LIMIT = 40
"""Bundles in a channel up to which all pairs are compared to find an order with few crossings."""


@dataclass(frozen=True, slots=True)
class Pins:
    """Rows of a bundle on both sides of a channel, at least one on each."""

    left: tuple[int, ...]
    right: tuple[int, ...]

    def is_straight(self) -> bool:
        """Whether the bundle is one straight line."""
        return self.left == self.right and len(self.left) == 1

    def span(self) -> tuple[int, int]:
        """First and last row."""
        rows = (*self.left, *self.right)
        return min(rows), max(rows)


@dataclass(frozen=True, slots=True)
class Track:
    """The columns (from 0) in which a bundle turns: none, one, or two that are joined in row `via`."""

    columns: tuple[int, ...] = ()
    via: int = 0


@dataclass(frozen=True, slots=True)
class Channel:
    """Tracks by bundle, the number of columns they use, and the row after the last one they use."""

    tracks: Mapping[EdgeBundle, Track]
    columns: int
    bottom: int


@dataclass(frozen=True, slots=True)
class _TrackPart:
    """What uses one column: a whole bundle (`half` 0), or its left (1) or right (2) half."""

    bundle: EdgeBundle
    half: int
    first: int
    last: int


def route_channel(pins: Mapping[EdgeBundle, Pins], spacing: int) -> Channel:
    """The tracks of all bundles of a channel, with `spacing` free columns between two of them."""
    tracks = {bundle: Track() for bundle, rows in pins.items() if rows.is_straight()}
    bent = {bundle: rows for bundle, rows in pins.items() if bundle not in tracks}
    used_rows = {row for rows in pins.values() for row in (*rows.left, *rows.right)}
    on_right = {row: bundle for bundle, rows in bent.items() for row in rows.right}
    before: dict[EdgeBundle, set[EdgeBundle]] = {bundle: set() for bundle in bent}
    for bundle, rows in bent.items():
        for row in rows.left:
            if on_right.get(row, bundle) != bundle:
                before[on_right[row]].add(bundle)
    parts, via = _split_cycles(_preferred_order(bent), before, bent, used_rows)
    columns = _pack_columns(parts, bent)
    for part in parts:
        previous = tracks.get(part.bundle, Track()).columns
        column = columns[part] * (1 + spacing)
        tracks[part.bundle] = Track((*previous, column), via.get(part.bundle, 0))
    count = max(columns.values(), default=-1) + 1
    width = count + (count - 1) * spacing if count else 0
    return Channel(tracks, width, max((*used_rows, *via.values()), default=-1) + 1)


def _split_cycles(
    order: Sequence[EdgeBundle],
    before: Mapping[EdgeBundle, set[EdgeBundle]],
    pins: Mapping[EdgeBundle, Pins],
    used_rows: set[int],
) -> tuple[list[_TrackPart], dict[EdgeBundle, int]]:
    """Bundles in an order that satisfies all constraints; those for which there is none, in two halves."""
    parts: list[_TrackPart] = []
    via: dict[EdgeBundle, int] = {}
    waiting, halved = list(order), dict[EdgeBundle, _TrackPart]()
    blocked_rows = set(used_rows)
    done: set[EdgeBundle] = set()
    while waiting:
        bundle = next((candidate for candidate in waiting if before[candidate] <= done), None)
        if bundle is not None:
            waiting.remove(bundle)
            first, last = pins[bundle].span()
            parts.append(halved.get(bundle) or _TrackPart(bundle, 0, first, last))
            done.add(bundle)
            continue
        bundle = next(candidate for candidate in waiting if candidate not in halved)
        row = _free_row(pins[bundle], blocked_rows)
        blocked_rows.add(row)
        via[bundle] = row
        left, right = (*pins[bundle].left, row), (*pins[bundle].right, row)
        parts.append(_TrackPart(bundle, 1, min(left), max(left)))
        halved[bundle] = _TrackPart(bundle, 2, min(right), max(right))
        for other in waiting:
            if other != bundle:
                before[other].discard(bundle)
    return parts, via


def _free_row(pins: Pins, blocked: set[int]) -> int:
    """The row without a pin that is nearest to the middle of a bundle."""
    first, last = pins.span()
    middle = (first + last) // 2
    rows = range(max((*blocked, last)) + 2)
    return min((row for row in rows if row not in blocked), key=lambda row: (abs(row - middle), row))


def _pack_columns(parts: Sequence[_TrackPart], pins: Mapping[EdgeBundle, Pins]) -> dict[_TrackPart, int]:
    """Columns in which overlapping parts keep their order, unless that takes many more columns."""
    columns = _first_fit(parts, pins, in_order=True)
    if max(columns.values(), default=0) <= SPARE_COLUMNS:
        return columns
    packed = _first_fit(parts, pins, in_order=False)
    return packed if max(packed.values()) + SPARE_COLUMNS < max(columns.values()) else columns


def _first_fit(
    parts: Sequence[_TrackPart], pins: Mapping[EdgeBundle, Pins], *, in_order: bool
) -> dict[_TrackPart, int]:
    """For each part the first free column that is right of all parts that must be left of it."""
    columns: dict[_TrackPart, int] = {}
    by_column: list[list[_TrackPart]] = []
    for part in parts:
        lowest, occupied = 0, set()
        for column, others in enumerate(by_column):
            for other in others:
                overlap = other.first <= part.last and part.first <= other.last
                if overlap:
                    occupied.add(column)
                if (overlap and in_order) or _must_follow(part, other, pins):
                    lowest = column + 1
        columns[part] = next(n for n in range(lowest, len(by_column) + 1) if n not in occupied)
        if columns[part] == len(by_column):
            by_column.append([])
        by_column[columns[part]].append(part)
    return columns


def _must_follow(part: _TrackPart, other: _TrackPart, pins: Mapping[EdgeBundle, Pins]) -> bool:
    """Whether a row has a right pin of `part` and a left pin of `other`; halves of one bundle go in order."""
    if part.bundle == other.bundle:
        return True
    if part.half == 1 or other.half == 2:
        return False
    return not set(pins[part.bundle].right).isdisjoint(pins[other.bundle].left)


def _preferred_order(pins: Mapping[EdgeBundle, Pins]) -> list[EdgeBundle]:
    """Bundles from left to right with few crossings.

    Bundles that go down come first, the lower ones before the upper; then the others, the upper ones first.
    """

    def key(bundle: EdgeBundle) -> tuple[bool, float, EdgeBundle]:
        rows = pins[bundle]
        start, end = sum(rows.left) / len(rows.left), sum(rows.right) / len(rows.right)
        return (end <= start, start if end <= start else -start, bundle)

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
    """How often two bundles cross if the column of the first is left of the other's."""
    (a, b), (c, d) = left.span(), right.span()
    return sum(a <= row <= b for row in right.left) + sum(c <= row <= d for row in left.right)
