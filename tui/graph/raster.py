"""A route as cells, each with the directions in which its line continues."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from meshwright.tui.graph.box_drawing import DOWN, LEFT, RIGHT, UP
from meshwright.tui.graph.bundles import EdgeBundle
from meshwright.tui.graph.model import EdgeRoute, MergeOwner, Point

Owner = EdgeBundle | MergeOwner
"""The owner of a cell: lines of one owner branch and merge, those of two owners only cross."""


def cells(route: EdgeRoute) -> Iterator[tuple[int, int, Owner, int]]:
    """Each cell of a route with its owner and its arms; both ends extend towards their boxes.

    A corner occurs twice, once with each arm.
    """
    for y in sorted({row for first, last in row_spans(route) for row in range(first, last + 1)}):
        for x, owner, arms in cells_in_row(route, y):
            yield x, y, owner, arms


def row_spans(route: EdgeRoute) -> Iterator[tuple[int, int]]:
    """First and last row of each straight piece of a route."""
    yield (route.points[0][1],) * 2
    for (_, start), (_, end) in pairwise(route.points):
        yield min(start, end), max(start, end)


def cells_in_row(route: EdgeRoute, y: int) -> Iterator[tuple[int, Owner, int]]:
    """The cells of a route in one row: column, owner, arms."""
    points, forward = route.points, route.bundle.forward
    ahead, back = (RIGHT, LEFT) if forward else (LEFT, RIGHT)
    if points[0][1] == y:
        yield points[0][0], _owner(route, 0), back
    for n, (start, end) in enumerate(pairwise(points)):
        (x, top), (u, bottom) = start, end
        if start == end or not min(top, bottom) <= y <= max(top, bottom):
            continue
        out, home = _arms(start, end)
        if top == y:
            yield x, _owner(route, n), out
        if bottom == y:
            yield u, _owner(route, n + 1), home
        if top == bottom:
            between = range(min(x, u) + 1, max(x, u))
            yield from ((column, _owner(route, n + 1), out | home) for column in between)
        elif y not in (top, bottom):
            yield x, _owner(route, n + 1), out | home
    if points[-1][1] == y:
        yield points[-1][0], _owner(route, len(points) - 1), ahead


def _owner(route: EdgeRoute, n: int) -> Owner:
    return route.bundle if n < route.bundle_points else (route.link[1], route.bundle.forward)


def _arms(start: Point, end: Point) -> tuple[int, int]:
    """The arm from one cell towards the other, and the arm back."""
    if start[1] == end[1]:
        return (RIGHT, LEFT) if start[0] < end[0] else (LEFT, RIGHT)
    return (DOWN, UP) if start[1] < end[1] else (UP, DOWN)
