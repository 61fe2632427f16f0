"""Responses of the delta protocol, joined from resources that are encoded already and shared by streams.

Nothing in a response depends on the stream it goes to: its nonce is the hash of what it says. So a change
that a thousand sidecars must hear of is put together once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from meshwright.control_plane.core.resource import EDS, VHDS, Resource, encode, length_delimited
from meshwright.control_plane.envoy import codec, v3

# Field numbers of envoy.service.discovery.v3.DeltaDiscoveryResponse.
_RESOURCES, _TYPE_URL, _NONCE, _REMOVED = 2, 4, 5, 6


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """One encoded DeltaDiscoveryResponse.

    `items` are (name, version) of its resources; an empty version says that the name does not exist (the
    body-less Resource that VHDS wants). `removed` are the names in `removed_resources`.
    """

    type_url: str
    nonce: str
    items: tuple[tuple[str, str], ...]
    removed: tuple[str, ...]
    data: bytes

    @property
    def is_single(self) -> bool:
        """Whether it speaks of one name only, so that a NACK of it can be about nothing else."""
        return len(self.items) + len(self.removed) == 1


class ResponseCache:
    """Shares responses of equal content between streams; keeps the `limit` that were made last."""

    def __init__(self, limit: int = 256) -> None:
        self._limit = limit
        self._responses: dict[tuple[str, tuple[tuple[str, str], ...], tuple[str, ...]], Response] = {}

    def build(self, type_url: str, resources: list[Resource], removed: list[str]) -> Response:
        """The response that carries `resources` and `removed`, both in the order given."""
        items = tuple([(resource.name, resource.version) for resource in resources])
        key = (type_url, items, tuple(removed))
        found = self._responses.get(key)
        if found is None:
            nonce = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
            parts = [resource.wire for resource in resources]
            parts.append(length_delimited(_TYPE_URL, type_url.encode()))
            parts.append(length_delimited(_NONCE, nonce.encode()))
            parts.extend(length_delimited(_REMOVED, name.encode()) for name in removed)
            found = Response(type_url, nonce, items, tuple(removed), b"".join(parts))
            if len(self._responses) >= self._limit:
                del self._responses[next(iter(self._responses))]
            self._responses[key] = found
        return found


@lru_cache(maxsize=1024)
def nonexistent_host(name: str) -> Resource:
    """What VHDS answers for a host that does not exist: name and alias, no body (an instant 404).

    `removed_resources` would leave the request hanging until its timeout.
    """
    envelope = v3.Resource(name=name, aliases=[name])
    return Resource(VHDS, name, "", length_delimited(_RESOURCES, codec.encode(envelope)))


def placeholder_hosts(route_configurations: Iterable[str]) -> dict[str, Resource]:
    """A host that does not exist, for each of a client's route configurations.

    Envoy's initial fetch of virtual hosts ends with it; an empty answer would leave it waiting.
    """
    names = (f"{each}/-" for each in sorted(route_configurations))
    return {name: nonexistent_host(name) for name in names}


@lru_cache(maxsize=1024)
def empty_endpoints(name: str) -> Resource:
    """An empty ClusterLoadAssignment: Envoy ignores the removal of EDS resources and keeps the old data."""
    return encode(EDS, name, v3.ClusterLoadAssignment(cluster_name=name))
