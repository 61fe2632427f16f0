"""The last version of each resource that an Envoy of one identity ACKed: the fallback for those that NACK.

An Envoy that NACKs an update keeps running on its old resource. An Envoy that has just started, or requests a
host for the first time, has no old resource: it gets the version that another proxy of its identity last
ACKed, until there is a newer one that it accepts.
"""

from __future__ import annotations

from collections.abc import Callable

from meshwright.control_plane.core.resource import CDS, RDS, VHDS, Resource
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.xds.protocol.cluster_dependencies import ResourceKey
from meshwright.control_plane.xds.protocol.subscription import Reply, Subscription

Lookup = Callable[[str], Resource | None]
"""The resource that a client should have under a name."""

SHARED_TYPES = (CDS, RDS, VHDS)
"""Types that are equal for all proxies of an identity. Listeners differ: they hold the ports of one node."""


class LastAccepted:
    """The version of each resource that any proxy of one identity ACKed last."""

    def __init__(self) -> None:
        self._resources: dict[ResourceKey, Resource] = {}

    def on_reply(self, sub: Subscription, request: v3.DeltaDiscoveryRequest, lookup: Lookup) -> Reply:
        """Apply an ACK or NACK to `sub`; remember what was ACKed, choose fallbacks for what was NACKed."""
        response = sub.pending_response(request.response_nonce)
        error = request.error_detail.message if request.HasField("error_detail") else None
        reply = sub.on_reply(request.response_nonce, error)
        if reply == "nack":
            self._assign_fallbacks(sub, lookup)
        elif response is not None and sub.type_url in SHARED_TYPES:
            for name, version in response.items:
                resource = lookup(name)
                if resource is not None and resource.version == version:
                    self._resources[resource.type_url, resource.name] = resource
        return reply

    def _assign_fallbacks(self, sub: Subscription, lookup: Lookup) -> None:
        """Queue an older version of every resource that the client NACKed and has no version of.

        A virtual host without an older version is reported as nonexistent: a request waits for the reply.
        """
        for name in sub.rejected.keys() - sub.acked.keys() - sub.fallbacks.keys():
            rejected = lookup(name)
            if rejected is None or not sub.is_quarantined(rejected):
                continue
            accepted = self._resources.get((rejected.type_url, rejected.name))
            fallback = accepted if accepted is not None and accepted.version != rejected.version else None
            if fallback is not None or sub.type_url == VHDS:
                sub.fallbacks[name] = fallback
                sub.require_reply(name)


def required_clusters(sub: Subscription, resource: Resource) -> tuple[str, ...]:
    """The clusters that a resource refers to, and those of the fallback that the client has instead."""
    fallback = sub.fallbacks.get(resource.name)
    if fallback is None:
        return resource.required_clusters
    return tuple(dict.fromkeys((*resource.required_clusters, *fallback.required_clusters)))
