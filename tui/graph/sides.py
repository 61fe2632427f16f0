"""Where lines meet a box: rows of its two sides, and how many rows it needs for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tui.graph.nets import Bend, Join, Net, Woven
from tui.graph.placing import Slot
from tui.graph.plan import Look


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a node: joins that arrive, and whether a net leaves."""

    arriving: tuple[Join, ...] = ()
    leaving: bool = False

    def rows(self) -> int:
        """Rows before the box that this side needs."""
        return len(self.arriving) + self.leaving

    def both(self) -> bool:
        """Whether it needs a row for each direction."""
        return bool(self.arriving) and self.leaving


NO_SIDE = Side()


@dataclass(frozen=True, slots=True)
class Standing:
    """A node in its slot: the first row and the height of its box, and whether lines need a second row."""

    slot: Slot
    top: int
    height: int
    second: bool


def sides(woven: Woven) -> tuple[dict[str, Side], dict[str, Side]]:
    """Left and right side of every node that has any."""
    arriving: tuple[dict[str, list[Join]], dict[str, list[Join]]] = ({}, {})
    leaving: tuple[set[str], set[str]] = (set(), set())
    for between in woven.joins:
        for join in between:
            into, out = (join.right, join.left) if join.net.forward else (join.left, join.right)
            if not isinstance(into, Bend):
                arriving[0 if join.net.forward else 1].setdefault(into, []).append(join)
            if not isinstance(out, Bend):
                leaving[1 if join.net.forward else 0].add(out)
    left, right = (
        {name: Side(tuple(come.get(name, ())), name in gone) for name in come.keys() | gone}
        for come, gone in zip(arriving, leaving, strict=True)
    )
    return left, right


def standing(left: Side, right: Side, look: Look) -> Standing:
    """How a node stands in the rows that its lines and its box need."""
    second = left.both() or right.both()
    frame = look.border
    height = 1 + second + 2 * frame
    rows = max(height, left.rows(), right.rows()) + look.gap
    top = (rows - look.gap - height) // 2
    return Standing(Slot(rows, top + frame), top, height, second)


def leaving_row(side: Side, axis: int, *, forward: bool) -> int:
    """Where a net leaves: level with the name, or below it where forward lines need that row."""
    return axis if forward or not side.arriving else axis + 1


def head_row(side: Side, axis: int, *, forward: bool) -> int:
    """Where the arrow head is: level with the name, or below it where a forward net leaves there."""
    return axis if forward or not side.leaving else axis + 1


def arrival_rows(
    side: Side, first: int, slot: Slot, starts: Mapping[Net, int], *, forward: bool
) -> dict[Join, int]:
    """A row for each join that arrives, so that they do not cross and one of them is the arrow's.

    `first` is the slot's first row, `starts` the row at which each net enters the channel.
    """
    axis = first + slot.axis
    head = head_row(side, axis, forward=forward)
    kept = {leaving_row(side, axis, forward=not forward)} if side.leaving else set()
    others = [row for row in range(first, first + slot.height) if row != head and row not in kept]
    above = [row for row in others if row < head]
    below = [row for row in others if row > head]
    joins = sorted(side.arriving, key=lambda join: (starts[join.net], join.net))
    count = _upper([starts[join.net] for join in joins], head)
    count = min(max(count, len(joins) - 1 - len(below)), len(above))
    rows = [*above[len(above) - count :], head, *below]
    return dict(zip(joins, rows, strict=False))


def _upper(starts: Sequence[int], head: int) -> int:
    """How many joins arrive above the arrow: the nearest one takes its row."""
    return min(range(len(starts)), key=lambda n: abs(starts[n] - head))
