"""Patches of finished resources, by which EnvoyPatch changes what every other kind has made.

A patch that cannot be applied leaves its resource as it was: `misfits` says so. A patched resource names its
patches in its metadata, and its version is that of the resource and of the patches, since the maps inside of
it have no fixed order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from google.protobuf.json_format import ParseError

from meshwright.control_plane.api.resource_metadata import METADATA_KEY, PATCHED_BY_KEY
from meshwright.control_plane.core.attachment import EffectivePolicy
from meshwright.control_plane.core.resource import CDS, LDS, RDS, Resource, encode
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.json_patch import PatchError

TYPES = {"Cluster": CDS, "Listener": LDS, "RouteConfiguration": RDS}
"""The type URLs of resources that may be patched."""

ResourceKey = tuple[str, str]

_PREFIX = "EnvoyPatch/"
# Of the names of the only kind that patches resources.


def keys(policies: Iterable[EffectivePolicy]) -> frozenset[ResourceKey]:
    """The resources that some policies patch."""
    return frozenset(
        (TYPES[kind], name) for policy in policies for kind, name in policy.hooks.patched_resources()
    )


@lru_cache(maxsize=2048)
def patched(resource: Resource, policies: tuple[EffectivePolicy, ...]) -> Resource:
    """The resource with all patches that can be applied."""
    for policy in policies:
        if (resource.type_url, resource.name) in keys((policy,)):
            try:
                resource = _patch(resource, policy)
            except (PatchError, ParseError):
                continue
    return resource


@dataclass(frozen=True, slots=True)
class Misfit:
    """A patch that cannot be applied: of which policy, to which resource of which owner, and why.

    `step` is the operation among all of the policy for that resource, None if there is no such resource (yet)
    or the result does not fit Envoy's schema.
    """

    ref: str
    kind: str
    name: str
    owner: str
    reason: str
    step: int | None = None
    is_missing: bool = False

    def __str__(self) -> str:
        return f"{self.ref} does not change {self.kind} {self.name} of {self.owner}: {self.reason}"


def misfits(
    owner: str, resources: Iterable[Resource], policies: tuple[EffectivePolicy, ...]
) -> Iterator[Misfit]:
    """The patches that cannot be applied to the proxies of `owner`, which have these resources."""
    by_key = {(resource.type_url, resource.name): resource for resource in resources}
    for policy in policies:
        for type_url, name in sorted(keys((policy,))):
            resource = by_key.get((type_url, name))
            place = (policy.ref, type_url.rsplit(".", 1)[1], name, owner)
            if resource is None:
                yield Misfit(*place, "there is no such resource", is_missing=True)
                continue
            try:
                by_key[type_url, name] = _patch(resource, policy)
            except (PatchError, ParseError) as error:
                step = error.step if isinstance(error, PatchError) else None
                yield Misfit(*place, " ".join(str(error).split()), step)


def patches_of(resource: Resource) -> tuple[str, ...]:
    """`Kind/name` of the policies that patched a resource, in order."""
    return tuple(ref for ref in resource.policies if ref.startswith(_PREFIX))


PatchedPlace = tuple[str, str, str]
"""(owner, type without `type.googleapis.com/...`, name) of a resource."""


def in_force(
    patches: Mapping[str, tuple[EffectivePolicy, ...]], failed: Iterable[Misfit]
) -> dict[PatchedPlace, tuple[str, ...]]:
    """Every patched resource of the mesh, sorted, with `Kind/name` of its patches but those that `failed`.

    `patches` are by service or gateway.
    """
    without = {(misfit.ref, misfit.owner, misfit.kind, misfit.name) for misfit in failed}
    resources: dict[PatchedPlace, tuple[str, ...]] = {}
    for owner in sorted(patches):
        for policy in patches[owner]:
            for type_url, name in sorted(keys((policy,))):
                place = (owner, type_url.rsplit(".", 1)[1], name)
                if (policy.ref, *place) not in without:
                    resources[place] = (*resources.get(place, ()), policy.ref)
    return resources


def _patch(resource: Resource, policy: EffectivePolicy) -> Resource:
    body = v3.DeltaDiscoveryResponse.FromString(resource.wire).resources[0].resource
    message = codec.decode(body.type_url, body.value)
    kind = resource.type_url.rsplit(".", 1)[1]
    value = policy.hooks.patch_resource(kind, resource.name, codec.to_dict(message))
    if not isinstance(value, dict):
        raise PatchError("the result is not a message")
    result: Any = codec.from_dict(type(message), value)
    refs = [*patches_of(resource), policy.ref]
    result.metadata.filter_metadata[METADATA_KEY].update({PATCHED_BY_KEY: refs})
    version = hashlib.sha256(f"{resource.version}\0{policy.ref}\0{policy.spec!r}".encode()).hexdigest()[:16]
    return encode(
        resource.type_url,
        resource.name,
        result,
        aliases=resource.aliases,
        required_clusters=resource.required_clusters,
        policies=(*resource.policies, policy.ref),
        version=version,
    )
