"""Links as bundles: one branching line from a node to all its callees on the right, one to those on the left.

Where a bundle passes a layer it gets a dummy node there, so that lines never run through boxes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from meshwright.tui.graph.graph import Link


class EdgeBundle(NamedTuple):
    """The line of one caller to its callees on the right (`forward`) or on the left."""

    source: str
    forward: bool


class DummyNode(NamedTuple):
    """Where a bundle passes a layer."""

    bundle: EdgeBundle
    layer: int


LayerItem = str | DummyNode
"""What takes rows in a layer: a node, by its name, or a dummy node."""


class BundleSegment(NamedTuple):
    """The part of a bundle between an item of one layer and an item of the next one to the right."""

    bundle: EdgeBundle
    left: LayerItem
    right: LayerItem


@dataclass(frozen=True, slots=True)
class LayeredGraph:
    """Items by layer, and segments by channel; channel n is between layers n and n + 1."""

    layers: tuple[tuple[LayerItem, ...], ...]
    segments: tuple[tuple[BundleSegment, ...], ...]


def bundle_of(link: Link, layers: Mapping[str, int]) -> EdgeBundle:
    """The bundle that a link is part of."""
    return EdgeBundle(link[0], layers[link[1]] > layers[link[0]])


def insert_dummies(layers: Mapping[str, int], links: Iterable[Link]) -> LayeredGraph:
    """The bundles of all links, in the order of names, with their dummy nodes and segments."""
    count = max(layers.values(), default=-1) + 1
    targets: dict[EdgeBundle, list[str]] = {}
    for link in links:
        targets.setdefault(bundle_of(link, layers), []).append(link[1])
    items: list[list[LayerItem]] = [[] for _ in range(count)]
    for name in sorted(layers):
        items[layers[name]].append(name)
    segments: list[list[BundleSegment]] = [[] for _ in range(max(0, count - 1))]
    for bundle in sorted(targets):
        _insert_bundle(bundle, targets[bundle], layers, items, segments)
    return LayeredGraph(tuple(map(tuple, items)), tuple(map(tuple, segments)))


def _insert_bundle(
    bundle: EdgeBundle,
    targets: list[str],
    layers: Mapping[str, int],
    items: list[list[LayerItem]],
    segments: list[list[BundleSegment]],
) -> None:
    """Add one bundle's dummy nodes and segments, layer by layer from its source."""
    step = 1 if bundle.forward else -1
    layer = layers[bundle.source]
    last = max(step * layers[name] for name in targets) * step
    here: LayerItem = bundle.source
    while layer != last:
        channel = layer if bundle.forward else layer - 1
        layer += step
        ahead: list[LayerItem] = sorted(name for name in targets if layers[name] == layer)
        dummy = DummyNode(bundle, layer)
        if layer != last:
            items[layer].append(dummy)
            ahead.append(dummy)
        for item in ahead:
            left, right = (here, item) if bundle.forward else (item, here)
            segments[channel].append(BundleSegment(bundle, left, right))
        here = dummy
