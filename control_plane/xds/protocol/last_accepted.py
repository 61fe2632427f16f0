"""What Envoys of one identity have taken, to fall back on for those that refuse what is newer.

An Envoy that refuses a change goes on with what it has. One that starts, or asks for a host for the first
time, has nothing: it is given the last version that its like took, until there is one that it takes.
"""

from __future__ import annotations

from collections.abc import Callable

from meshwright.control_plane.core.resource import CDS, RDS, VHDS, Resource
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.xds.protocol.cluster_dependencies import ResourceKey
from meshwright.control_plane.xds.protocol.subscription import Reply, Subscription

Lookup = Callable[[str], Resource | None]
"""What a client should have under a name."""

SHARED_TYPES = (CDS, RDS, VHDS)
"""What is the same for all proxies of an identity: listeners hold ports of a node's own."""


class LastAccepted:
    """The version of each resource that was ACKed last, by whichever proxy of one identity."""

    def __init__(self) -> None:
        self._resources: dict[ResourceKey, Resource] = {}

    def on_reply(self, sub: Subscription, request: v3.DeltaDiscoveryRequest, target: Lookup) -> Reply:
        """Take in a client's answer to a response, and learn from it."""
        response = sub.pending_response(request.response_nonce)
        error = request.error_detail.message if request.HasField("error_detail") else None
        reply = sub.on_reply(request.response_nonce, error)
        if reply == "nack":
            self._assign_fallbacks(sub, target)
        elif response is not None and sub.type_url in SHARED_TYPES:
            for name, version in response.items:
                found = target(name)
                if found is not None and found.version == version:
                    self._resources[found.type_url, found.name] = found
        return reply

    def _assign_fallbacks(self, sub: Subscription, target: Lookup) -> None:
        """Owe an older version of all that this client refused and has nothing of.

        A host without one is answered as unknown, since a request waits for the answer.
        """
        for name in sub.rejected.keys() - sub.acked.keys() - sub.fallbacks.keys():
            refused = target(name)
            if refused is None or not sub.is_quarantined(refused):
                continue
            kept = self._resources.get((refused.type_url, refused.name))
            spare = kept if kept is not None and kept.version != refused.version else None
            if spare is not None or sub.type_url == VHDS:
                sub.fallbacks[name] = spare
                sub.require_reply(name)


def required_clusters(sub: Subscription, resource: Resource) -> tuple[str, ...]:
    """The clusters that a resource needs, and those of what the client has in its stead."""
    spare = sub.fallbacks.get(resource.name)
    return (
        resource.required_clusters
        if spare is None
        else tuple(dict.fromkeys((*resource.required_clusters, *spare.required_clusters)))
    )
