"""The resources that a change makes or alters, by the node that shows them to Envoy. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core.resource import EDS, Resource
from meshwright.control_plane.core.snapshot import ResourceKey, Snapshot
from meshwright.control_plane.verification.scratch_node import ScratchNode, scratch_node

MAX_RESOURCES = 250
"""Resources of one candidate: what all views share would otherwise come with the first view."""

Content = tuple[str, str, str]
"""(type URL, name, version): equal bytes are accepted or rejected alike."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Resources that nobody has verified yet, and nodes that have them: after the change and before it.

    The nodes have nothing else but what these need, so that the size is that of one view.

    `withheld` are those that the scratch Envoy must not get.
    """

    owner: str
    before: ScratchNode
    after: ScratchNode
    resources: tuple[Resource, ...]
    withheld: tuple[ResourceKey, ...] = ()


def candidates(
    before: Snapshot, after: Snapshot, accepted: Collection[Content], is_confined: bool = True
) -> Iterator[Candidate]:
    """Every resource of `after` that is new or different and not among `accepted`, once."""
    changed = after.changed_from(before)
    seen: set[Content] = set()
    for identity in _identities(after) if changed else ():
        node = scratch_node(after, identity, changed, is_confined)
        previous = scratch_node(before, identity, changed, is_confined)
        resources = []
        withheld = tuple(key for key in sorted(changed) if node.withheld(*key, previous))
        for key in sorted(node.differences(previous, changed)):
            resource = node.get(*key)
            if resource is None or resource.type_url == EDS:
                continue
            if content(resource) not in seen and content(resource) not in accepted:
                seen.add(content(resource))
                resources.append(resource)
        for start in range(0, len(resources) or len(withheld[:1]), MAX_RESOURCES):
            part = tuple(resources[start : start + MAX_RESOURCES])
            keys = [(each.type_url, each.name) for each in part]
            nodes = previous.narrowed(keys), node.narrowed(keys)
            yield Candidate(identity.name, *nodes, part, () if start else withheld)


def content(resource: Resource) -> Content:
    """What the verdict on a resource depends on."""
    return resource.type_url, resource.name, resource.version


def _identities(snapshot: Snapshot) -> Iterator[Identity]:
    """The services and gateways of a snapshot."""
    for name in sorted(snapshot.nodes):
        yield Identity(snapshot.trust_domain, "service", name)
    for name in sorted(snapshot.gateways):
        yield Identity(snapshot.trust_domain, "gateway", name)
