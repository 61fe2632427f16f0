"""Links as nets: all that one node calls to its right is one line that branches, likewise to its left.

A net that passes a layer takes a place of its own there (a `Bend`), so that lines never run through boxes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from meshwright.tui.graph.graph import Link


class EdgeBundle(NamedTuple):
    """The line of one caller: to callees on its right, or (not `forward`) to those on its left."""

    source: str
    forward: bool


class DummyNode(NamedTuple):
    """Where a net passes a layer."""

    bundle: EdgeBundle
    layer: int


LayerItem = str | DummyNode
"""What takes rows in a layer: a node by its name, or a bend."""


class BundleSegment(NamedTuple):
    """A piece of a net between an item of one layer and an item of the next one to the right."""

    bundle: EdgeBundle
    left: LayerItem
    right: LayerItem


@dataclass(frozen=True, slots=True)
class LayeredGraph:
    """Items by layer and joins by channel; channel n is between the layers n and n + 1."""

    layers: tuple[tuple[LayerItem, ...], ...]
    segments: tuple[tuple[BundleSegment, ...], ...]


def bundle_of(link: Link, layers: Mapping[str, int]) -> EdgeBundle:
    """The net that a link is part of."""
    return EdgeBundle(link[0], layers[link[1]] > layers[link[0]])


def insert_dummies(layers: Mapping[str, int], links: Iterable[Link]) -> LayeredGraph:
    """The nets of all links, in order of names."""
    count = max(layers.values(), default=-1) + 1
    targets: dict[EdgeBundle, list[str]] = {}
    for link in links:
        targets.setdefault(bundle_of(link, layers), []).append(link[1])
    items: list[list[LayerItem]] = [[] for _ in range(count)]
    for name in sorted(layers):
        items[layers[name]].append(name)
    joins: list[list[BundleSegment]] = [[] for _ in range(max(0, count - 1))]
    for net in sorted(targets):
        _insert_bundle(net, targets[net], layers, items, joins)
    return LayeredGraph(tuple(map(tuple, items)), tuple(map(tuple, joins)))


def _insert_bundle(
    net: EdgeBundle,
    targets: list[str],
    layers: Mapping[str, int],
    items: list[list[LayerItem]],
    joins: list[list[BundleSegment]],
) -> None:
    """Put one net's bends and joins, from its source layer by layer."""
    step = 1 if net.forward else -1
    at = layers[net.source]
    last = max(targets, key=lambda name: step * layers[name])
    here: LayerItem = net.source
    while at != layers[last]:
        channel = at if net.forward else at - 1
        at += step
        ahead: list[LayerItem] = sorted(name for name in targets if layers[name] == at)
        bend = DummyNode(net, at)
        if at != layers[last]:
            items[at].append(bend)
            ahead.append(bend)
        for text in ahead:
            joins[channel].append(
                BundleSegment(net, here, text) if net.forward else BundleSegment(net, text, here)
            )
        here = bend
