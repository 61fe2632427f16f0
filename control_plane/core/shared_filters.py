"""Filters whose configuration all routes of a proxy share, each as a resource of its own (ECDS).

Some of Envoy's filters can be configured by a route only in part: the rest belongs to the listener, and a
changed listener drains its connections. As extension configuration it changes without that. The filters are
disabled until a route has configuration for them, so they cost nothing where no policy is in force.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import get_args

from google.protobuf.message import Message

from meshwright.control_plane.core.attachment import EffectivePolicy, refs_of
from meshwright.control_plane.core.resource import ECDS, Resource, ads_source, encode
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.hook_registry import (
    hook_classes,
    hooks_of_shared_filter,
    shared_filters,
)
from meshwright.control_plane.policies.hooks import NO_CLUSTER, FilterPhase, ListenerDirection


@dataclass(frozen=True, slots=True)
class SharedFilterView:
    """What one kind's shared filter depends on at one proxy.

    `combinations`: the policies in force at each route, each combination once. `clusters`: hosts of the mesh
    that the filter calls, with their clusters.
    """

    kind: str
    combinations: tuple[tuple[EffectivePolicy, ...], ...]
    clusters: tuple[tuple[str, str], ...] = ()


def combinations(
    direction: ListenerDirection, places: Iterable[Iterable[EffectivePolicy]]
) -> Mapping[str, tuple[tuple[EffectivePolicy, ...], ...]]:
    """The combinations of policies at some places, by kind; only kinds with a shared filter."""
    result: dict[str, dict[tuple[EffectivePolicy, ...], None]] = {}
    kinds = {kind: {kind, *hook_classes()[kind].reads} for kind in shared_filters(direction)}
    for policies in map(tuple, places):
        for kind in {policy.kind for policy in policies} & kinds.keys():
            members = tuple(policy for policy in policies if policy.kind in kinds[kind])
            result.setdefault(kind, {})[members] = None
    return {kind: tuple(sorted(sets, key=refs_of)) for kind, sets in sorted(result.items())}


def http_filters(direction: ListenerDirection) -> Iterable[tuple[FilterPhase, v3.HttpFilter]]:
    """The shared filters of a connection manager."""
    for _, (phase, name, inert) in _filters(direction):
        source = v3.ExtensionConfigSource(config_source=ads_source(), type_urls=[codec.type_url(inert)])
        yield phase, v3.HttpFilter(name=name, config_discovery=source, disabled=True)


@lru_cache(maxsize=1024)
def resources(direction: ListenerDirection, views: tuple[SharedFilterView, ...]) -> tuple[Resource, ...]:
    """The configuration of every shared filter of one proxy; inert for kinds without a view."""
    by_kind = {view.kind: view for view in views}
    return tuple(_resource(name, inert, by_kind.get(kind)) for kind, (_, name, inert) in _filters(direction))


def names(direction: ListenerDirection) -> tuple[str, ...]:
    """The names of these resources."""
    return tuple(name for _, (_, name, _) in _filters(direction))


@cache
def is_shared(name: str) -> bool:
    """Whether a resource of this name is the configuration of a shared filter."""
    return any(name in names(direction) for direction in get_args(ListenerDirection))


def _filters(direction: ListenerDirection) -> Iterable[tuple[str, tuple[FilterPhase, str, Message]]]:
    for kind, filters in shared_filters(direction).items():
        yield from ((kind, entry) for entry in filters)


def _resource(name: str, inert: Message, view: SharedFilterView | None) -> Resource:
    config = inert
    policies: tuple[EffectivePolicy, ...] = ()
    required: tuple[str, ...] = ()
    if view is not None:
        policies = tuple(dict.fromkeys(policy for members in view.combinations for policy in members))
        hooks = [[policy.hooks for policy in members] for members in view.combinations]
        config = hook_classes()[view.kind].shared_config(name, hooks, dict(view.clusters))
        outside = (cluster.name for policy in policies for cluster in policy.hooks.outside_clusters())
        inside = (cluster for _, cluster in view.clusters if cluster != NO_CLUSTER)
        required = tuple(dict.fromkeys((*inside, *outside)))
    message = v3.TypedExtensionConfig(name=name, typed_config=codec.pack(config))
    return encode(ECDS, name, message, required_clusters=required, policies=refs_of(policies))


@lru_cache(maxsize=256)
def merged(old: Resource, new: Resource) -> Resource:
    """A configuration for routes of the old and of the new one: what both define is as in the new."""
    before, after = _body(old), _body(new)
    if before.typed_config.type_url != after.typed_config.type_url:
        return new
    hooks = hooks_of_shared_filter(new.name)
    after.typed_config.value = hooks.merged_config(before.typed_config.value, after.typed_config.value)
    clusters = tuple(dict.fromkeys((*old.required_clusters, *new.required_clusters)))
    return encode(ECDS, new.name, after, required_clusters=clusters, policies=new.policies)


def _body(resource: Resource) -> v3.TypedExtensionConfig:
    envelope = v3.DeltaDiscoveryResponse.FromString(resource.wire).resources[0]
    return v3.TypedExtensionConfig.FromString(envelope.resource.value)
