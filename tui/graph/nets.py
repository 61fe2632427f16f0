"""Links as nets: all that one node calls to its right is one line that branches, likewise to its left.

A net that passes a layer takes a place of its own there (a `Bend`), so that lines never run through boxes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tui.graph.shape import Link


class Net(NamedTuple):
    """The line of one caller: to callees on its right, or (not `forward`) to those on its left."""

    source: str
    forward: bool


class Bend(NamedTuple):
    """Where a net passes a layer."""

    net: Net
    layer: int


Item = str | Bend
"""What takes rows in a layer: a node by its name, or a bend."""


class Join(NamedTuple):
    """A piece of a net between an item of one layer and an item of the next one to the right."""

    net: Net
    left: Item
    right: Item


@dataclass(frozen=True, slots=True)
class Woven:
    """Items by layer and joins by channel; channel n is between the layers n and n + 1."""

    layers: tuple[tuple[Item, ...], ...]
    joins: tuple[tuple[Join, ...], ...]


def net_of(link: Link, layers: Mapping[str, int]) -> Net:
    """The net that a link is part of."""
    return Net(link[0], layers[link[1]] > layers[link[0]])


def weave(layers: Mapping[str, int], links: Iterable[Link]) -> Woven:
    """The nets of all links, in order of names."""
    count = max(layers.values(), default=-1) + 1
    targets: dict[Net, list[str]] = {}
    for link in links:
        targets.setdefault(net_of(link, layers), []).append(link[1])
    items: list[list[Item]] = [[] for _ in range(count)]
    for name in sorted(layers):
        items[layers[name]].append(name)
    joins: list[list[Join]] = [[] for _ in range(max(0, count - 1))]
    for net in sorted(targets):
        _lay(net, targets[net], layers, items, joins)
    return Woven(tuple(map(tuple, items)), tuple(map(tuple, joins)))


def _lay(
    net: Net,
    targets: list[str],
    layers: Mapping[str, int],
    items: list[list[Item]],
    joins: list[list[Join]],
) -> None:
    """Put one net's bends and joins, from its source layer by layer."""
    step = 1 if net.forward else -1
    at = layers[net.source]
    last = max(targets, key=lambda name: step * layers[name])
    here: Item = net.source
    while at != layers[last]:
        channel = at if net.forward else at - 1
        at += step
        ahead: list[Item] = sorted(name for name in targets if layers[name] == at)
        bend = Bend(net, at)
        if at != layers[last]:
            items[at].append(bend)
            ahead.append(bend)
        for one in ahead:
            joins[channel].append(Join(net, here, one) if net.forward else Join(net, one, here))
        here = bend
