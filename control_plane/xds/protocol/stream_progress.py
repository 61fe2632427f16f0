"""How far the client of one stream is: what it has taken, what it refused, and since which revision."""

from __future__ import annotations

from meshwright.control_plane.core.resource import CDS, LDS
from meshwright.control_plane.xds.protocol.cluster_dependencies import ResourceKey
from meshwright.control_plane.xds.protocol.subscription import Rejection, Subscription


class StreamProgress:
    """What is told of a stream, by its subscriptions.

    `acked_revision`: the newest of which the client has ACKed all that concerns it; 0 before the first.
    `answered_revision`: the newest of which it has answered all, be it by a refusal.
    """

    def __init__(self) -> None:
        self._types: dict[str, Subscription] = {}
        self.acked_revision = 0
        self.replied_revision = 0

    @property
    def rejected(self) -> dict[ResourceKey, Rejection]:
        """What this client refused and still does not have."""
        return {
            (sub.type_url, name): why for sub in self._types.values() for name, why in sub.rejected.items()
        }

    @property
    def rejected_revision(self) -> int:
        """The newest revision that brought what this client refuses, or lacks for that; 0: it takes all."""
        return max((sub.rejected_revision for sub in self._types.values()), default=0)

    @property
    def in_flight(self) -> int:
        """Responses that await their answer."""
        return sum(len(sub.pending) for sub in self._types.values())

    @property
    def is_waiting_for_clusters(self) -> bool:
        """Whether something waits for clusters to be in place."""
        return any(sub.dirty for sub in self._types.values())

    @property
    def is_synced(self) -> bool:
        """Whether the client has ACKed all that concerns it; False before it has asked for anything."""
        return self._has_subscribed and not any(
            sub.pending or sub.dirty or sub.rejected for sub in self._types.values()
        )

    def advance(self, revision: int) -> None:
        """Note that there is nothing of `revision` that this stream has not been told."""
        if self._has_subscribed and all(sub.is_caught_up for sub in self._types.values()):
            self.replied_revision = max(self.replied_revision, revision)
            if self.is_synced:
                self.acked_revision = max(self.acked_revision, revision)

    @property
    def _has_subscribed(self) -> bool:
        """Whether the client asked for what every Envoy asks for: clusters and listeners."""
        return CDS in self._types and LDS in self._types
