"""Snapshots made of resources that a test lists by hand."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from meshwright.control_plane.api.host_suffixes import DOMAINS
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core.resource import LDS, VHDS, Resource
from meshwright.control_plane.core.snapshot import Bindings, ChangedResources, NodeSnapshot, Snapshot

ResourceKey = tuple[str, str]


class HandMadeNode(NodeSnapshot):
    """One node's resources. Its base consists of all listeners and the `pinned` resources."""

    def __init__(
        self,
        revision: int = 1,
        resources: Mapping[ResourceKey, Resource] | None = None,
        pinned: Collection[ResourceKey] = (),
        services: Collection[str] = (),
    ) -> None:
        self.revision = revision
        self.resources = resources or {}
        self.pinned = frozenset(pinned)
        self._services = services
        self._domains = DOMAINS
        self._aliases = {alias: host.name for host in self.resources.values() for alias in host.aliases}

    def get(self, type_url: str, name: str) -> Resource | None:
        resource = self.resources.get((type_url, name))
        if resource is None and type_url == VHDS:
            return next((host for host in self.resources.values() if name in host.aliases), None)
        return resource

    def base(self, type_url: str) -> Mapping[str, Resource]:
        return MappingProxyType(
            {
                name: resource
                for (resource_type, name), resource in self.resources.items()
                if resource_type == type_url
                and (resource_type == LDS or (resource_type, name) in self.pinned)
            }
        )

    def changed_from(self, before: HandMadeNode) -> ChangedResources:
        """Keys of the resources that differ between two nodes."""
        keys = before.resources.keys() | self.resources.keys()
        changed = {key for key in keys if before.resources.get(key) != self.resources.get(key)}
        return frozenset(changed | (before.pinned ^ self.pinned))


class HandMadeSnapshot(Snapshot):
    """A snapshot that serves the same hand-made resources to every node."""

    def __init__(self, node: HandMadeNode) -> None:
        super().__init__(node.revision)
        object.__setattr__(self, "hand_made", node)

    hand_made: HandMadeNode

    def node(self, identity: Identity, bindings: Bindings) -> NodeSnapshot:
        return self.hand_made

    def changed_from(self, before: Snapshot) -> ChangedResources:
        assert isinstance(before, HandMadeSnapshot)
        return self.hand_made.changed_from(before.hand_made)


def node_snapshot(
    *resources: Resource, revision: int = 1, pinned: Collection[ResourceKey] = ()
) -> HandMadeNode:
    """A node with these resources."""
    table = {(resource.type_url, resource.name): resource for resource in resources}
    return HandMadeNode(revision, table, pinned)
