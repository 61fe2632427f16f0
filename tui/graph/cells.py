"""A route as cells, each with the directions in which its line goes on from there."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from tui.graph.lines import DOWN, LEFT, RIGHT, UP
from tui.graph.nets import Net
from tui.graph.plan import Into, Point, Route

Owner = Net | Into
"""Whose cell it is: lines of one owner branch and join, those of two only cross."""


def cells(route: Route) -> Iterator[tuple[int, int, Owner, int]]:
    """Each cell of a route with its owner and its arms. Both ends reach towards their boxes.

    A corner comes twice, once with each arm.
    """
    forward = route.net.forward
    ahead, back = (RIGHT, LEFT) if forward else (LEFT, RIGHT)
    into: Into = (route.link[1], forward)
    points = route.points
    yield (*points[0], _owner(route, 0), back)
    for n, (start, end) in enumerate(pairwise(points)):
        out, home = _arms(start, end)
        for x, y in _between(start, end):
            owner = route.net if n + 1 < route.lone else into
            yield x, y, owner, out | home
        if start != end:
            yield (*start, _owner(route, n), out)
            yield (*end, _owner(route, n + 1), home)
    yield (*points[-1], _owner(route, len(points) - 1), ahead)


def _owner(route: Route, n: int) -> Owner:
    return route.net if n < route.lone else (route.link[1], route.net.forward)


def _arms(start: Point, end: Point) -> tuple[int, int]:
    """The arm that leads from one cell to the other, and the one that leads back."""
    if start[1] == end[1]:
        return (RIGHT, LEFT) if start[0] < end[0] else (LEFT, RIGHT)
    return (DOWN, UP) if start[1] < end[1] else (UP, DOWN)


def _between(start: Point, end: Point) -> Iterator[Point]:
    (x, y), (u, v) = start, end
    if y == v:
        yield from ((at, y) for at in range(min(x, u) + 1, max(x, u)))
    else:
        yield from ((x, at) for at in range(min(y, v) + 1, max(y, v)))
