"""The order of items within their layers, with few crossings, and near to the order that was there before."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence

from tui.graph.nets import Item, Join, Woven

ROUNDS = 8
"""Sweeps to the right and back. Few help after the fourth."""

LARGE = 1500
"""Items from which on there are only a few rounds, and no swapping of neighbours."""

Order = list[list[Item]]


def ordered(woven: Woven, group: Mapping[Item, int], before: Mapping[Item, float]) -> Order:
    """Items of each layer from top to bottom. Items of a lower `group` stand above those of a higher one.

    `before`: where items stood when this was last laid out; they keep that order unless another one has
    fewer crossings.
    """
    sides = _sides(woven)
    best = _start(woven, group, before, sides)
    fewest = crossings(best, woven.joins)
    large = sum(map(len, woven.layers)) > LARGE
    order = best
    for turn in range(ROUNDS // 4 if large else ROUNDS):
        if not fewest:
            break
        order = _swept(order, sides, group, rightward=not turn % 2)
        if not large:
            order = _swapped(order, sides, group)
        count = crossings(order, woven.joins)
        if count < fewest:
            best, fewest = order, count
    return best


def crossings(order: Order, joins: Sequence[Sequence[Join]]) -> int:
    """How many pairs of joins cross."""
    found = 0
    for channel, between in enumerate(joins):
        left, right = _places(order[channel]), _places(order[channel + 1])
        seen: list[int] = []
        for _, at in sorted((left[join.left], right[join.right]) for join in between):
            found += len(seen) - bisect_right(seen, at)
            insort(seen, at)
    return found


class _Sides:
    """Whom each item is joined to, on its left and on its right."""

    def __init__(self) -> None:
        self.left: dict[Item, list[Item]] = {}
        self.right: dict[Item, list[Item]] = {}


def _sides(woven: Woven) -> _Sides:
    sides = _Sides()
    for between in woven.joins:
        for join in between:
            sides.right.setdefault(join.left, []).append(join.right)
            sides.left.setdefault(join.right, []).append(join.left)
    return sides


def _places(items: Sequence[Item]) -> dict[Item, int]:
    return {item: at for at, item in enumerate(items)}


def _mean(item: Item, joined: Mapping[Item, list[Item]], place: Mapping[Item, float], other: float) -> float:
    known = [place[one] for one in joined.get(item, ()) if one in place]
    return sum(known) / len(known) if known else other


def _start(woven: Woven, group: Mapping[Item, int], before: Mapping[Item, float], sides: _Sides) -> Order:
    """The order of before; what is new stands where its callers are, else where its callees were."""
    order: Order = []
    place: dict[Item, float] = {}
    for items in woven.layers:
        wanted: dict[Item, float] = {}
        for item in items:
            new = _mean(item, sides.left, place, _mean(item, sides.right, before, float("inf")))
            wanted[item] = before.get(item, new)
        order.append(sorted(items, key=lambda item: (group[item], wanted[item])))
        if before:
            place.update(wanted)
        else:
            place.update(_places(order[-1]))
    return order


def _swept(order: Order, sides: _Sides, group: Mapping[Item, int], *, rightward: bool) -> Order:
    """Each layer sorted by the mean place of what it is joined to in the layer before it."""
    found: Order = [list(items) for items in order]
    joined = sides.left if rightward else sides.right
    for at in range(1, len(found)) if rightward else range(len(found) - 2, -1, -1):
        fixed = _places(found[at - 1 if rightward else at + 1])
        kept = {item: place for place, item in enumerate(found[at])}
        scale = max(1, len(fixed)) / max(1, len(kept))
        wanted = {item: _mean(item, joined, fixed, kept[item] * scale) for item in found[at]}
        found[at].sort(key=lambda item, wanted=wanted: (group[item], wanted[item]))  # type: ignore[misc]
    return found


def _swapped(order: Order, sides: _Sides, group: Mapping[Item, int]) -> Order:
    """Neighbours change places where that has fewer crossings."""
    found: Order = [list(items) for items in order]
    for at, items in enumerate(found):
        left = _places(found[at - 1]) if at else {}
        right = _places(found[at + 1]) if at + 1 < len(found) else {}
        ends = {
            item: (
                sorted(left[one] for one in sides.left.get(item, ())),
                sorted(right[one] for one in sides.right.get(item, ())),
            )
            for item in items
        }
        for n in range(len(items) - 1):
            a, b = items[n], items[n + 1]
            if group[a] == group[b] and _gain(ends[a], ends[b]) > 0:
                items[n], items[n + 1] = b, a
    return found


def _gain(a: tuple[list[int], list[int]], b: tuple[list[int], list[int]]) -> int:
    """Crossings less when b stands above a."""
    return sum(_crossing(one, two) - _crossing(two, one) for one, two in zip(a, b, strict=True))


def _crossing(upper: list[int], lower: list[int]) -> int:
    return sum(bisect_left(lower, at) for at in upper)
