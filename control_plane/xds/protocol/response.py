"""DeltaDiscoveryResponses, concatenated from resources that are already encoded, and shared by all streams.

A response does not depend on its stream: its nonce is a hash of its content. So an update for a thousand
sidecars is built once.
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

_Content = tuple[str, tuple[tuple[str, str], ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """One encoded DeltaDiscoveryResponse.

    `items` are (name, version) of its resources. An empty version means that the resource does not exist
    (VHDS expects a Resource without a body for that). `removed` are the names in `removed_resources`.
    """

    type_url: str
    nonce: str
    items: tuple[tuple[str, str], ...]
    removed: tuple[str, ...]
    data: bytes

    @property
    def is_single(self) -> bool:
        """Whether it names one resource only, so that a NACK of it is about that resource."""
        return len(self.items) + len(self.removed) == 1


class ResponseCache:
    """Shares responses of equal content between streams; keeps the `limit` newest ones."""

    def __init__(self, limit: int = 256) -> None:
        self._limit = limit
        self._responses: dict[_Content, Response] = {}

    def build(self, type_url: str, resources: list[Resource], removed: list[str]) -> Response:
        """The response that carries `resources` and `removed`, both in the given order."""
        items = tuple([(resource.name, resource.version) for resource in resources])
        key = (type_url, items, tuple(removed))
        response = self._responses.get(key)
        if response is None:
            nonce = hashlib.sha256(repr(key).encode()).hexdigest()[:16]
            fields = [resource.wire for resource in resources]
            fields.append(length_delimited(_TYPE_URL, type_url.encode()))
            fields.append(length_delimited(_NONCE, nonce.encode()))
            fields.extend(length_delimited(_REMOVED, name.encode()) for name in removed)
            response = Response(type_url, nonce, items, tuple(removed), b"".join(fields))
            if len(self._responses) >= self._limit:
                del self._responses[next(iter(self._responses))]
            self._responses[key] = response
        return response


@lru_cache(maxsize=1024)
def nonexistent_host(name: str) -> Resource:
    """VHDS's reply for a host that does not exist: name and alias without a body (Envoy answers 404 at once).

    With `removed_resources` instead, Envoy would hold the request until it times out.
    """
    envelope = v3.Resource(name=name, aliases=[name])
    return Resource(VHDS, name, "", length_delimited(_RESOURCES, codec.encode(envelope)))


def placeholder_hosts(route_configurations: Iterable[str]) -> dict[str, Resource]:
    """One nonexistent host for each of a client's route configurations.

    It ends Envoy's initial fetch of virtual hosts. After an empty response Envoy would keep waiting.
    """
    names = (f"{name}/-" for name in sorted(route_configurations))
    return {name: nonexistent_host(name) for name in names}


@lru_cache(maxsize=1024)
def empty_endpoints(name: str) -> Resource:
    """An empty ClusterLoadAssignment. Envoy ignores the removal of EDS resources and keeps the old data."""
    return encode(EDS, name, v3.ClusterLoadAssignment(cluster_name=name))
