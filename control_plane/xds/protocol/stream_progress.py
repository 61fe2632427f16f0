"""How far a stream's client has got: what it ACKed, what it NACKed, and since which revision."""

from __future__ import annotations

from meshwright.control_plane.core.resource import CDS, LDS
from meshwright.control_plane.xds.protocol.cluster_dependencies import ResourceKey
from meshwright.control_plane.xds.protocol.subscription import Rejection, Subscription


class StreamProgress:
    """The progress of one stream, summed over its subscriptions.

    `acked_revision`: the newest revision of which the client ACKed everything it gets; 0 before the first.
    `replied_revision`: the newest revision of which it ACKed or NACKed everything it gets.
    """

    def __init__(self) -> None:
        self._types: dict[str, Subscription] = {}
        self.acked_revision = 0
        self.replied_revision = 0

    @property
    def rejected(self) -> dict[ResourceKey, Rejection]:
        """The resources that the client NACKed and still lacks."""
        return {
            (sub.type_url, name): rejection
            for sub in self._types.values()
            for name, rejection in sub.rejected.items()
        }

    @property
    def rejected_revision(self) -> int:
        """The newest revision that introduced a NACKed or blocked version; 0 when there is none."""
        return max((sub.rejected_revision for sub in self._types.values()), default=0)

    @property
    def in_flight(self) -> int:
        """Number of responses that the client has not replied to."""
        return sum(len(sub.pending) for sub in self._types.values())

    @property
    def is_waiting_for_clusters(self) -> bool:
        """Whether a resource is held back until its clusters are ready."""
        return any(sub.dirty for sub in self._types.values())

    @property
    def is_synced(self) -> bool:
        """Whether the client has ACKed everything it gets; False before its first subscriptions."""
        return self._has_subscribed and not any(
            sub.pending or sub.dirty or sub.rejected for sub in self._types.values()
        )

    def advance(self, revision: int) -> None:
        """Record that this stream has been sent everything of `revision` that it gets."""
        if self._has_subscribed and all(sub.is_caught_up for sub in self._types.values()):
            self.replied_revision = max(self.replied_revision, revision)
            if self.is_synced:
                self.acked_revision = max(self.acked_revision, revision)

    @property
    def _has_subscribed(self) -> bool:
        """Whether the client subscribed to the types that every Envoy subscribes to: CDS and LDS."""
        return CDS in self._types and LDS in self._types
