"""How far the client of one stream is: what it has taken, what it refused, and since which revision."""

from __future__ import annotations

from control_plane.core.resource import CDS, LDS
from control_plane.xds.needs import Key
from control_plane.xds.subscription import Rejection, Subscription


class Progress:
    """What is told of a stream, by its subscriptions.

    `acked_revision`: the newest of which the client has ACKed all that concerns it; 0 before the first.
    `answered_revision`: the newest of which it has answered all, be it by a refusal.
    """

    def __init__(self) -> None:
        self._types: dict[str, Subscription] = {}
        self.acked_revision = 0
        self.answered_revision = 0

    @property
    def rejected(self) -> dict[Key, Rejection]:
        """What this client refused and still does not have."""
        return {
            (sub.type_url, name): why for sub in self._types.values() for name, why in sub.rejected.items()
        }

    @property
    def refused_revision(self) -> int:
        """The newest revision that brought what this client refuses, or lacks for that; 0: it takes all."""
        return max((sub.refused for sub in self._types.values()), default=0)

    @property
    def in_flight(self) -> int:
        """Responses that await their answer."""
        return sum(len(sub.pending) for sub in self._types.values())

    @property
    def held(self) -> bool:
        """Whether something waits for clusters to be in place."""
        return any(sub.dirty for sub in self._types.values())

    @property
    def settled(self) -> bool:
        """Whether the client has ACKed all that concerns it; False before it has asked for anything."""
        return self._asked and not any(
            sub.pending or sub.dirty or sub.rejected for sub in self._types.values()
        )

    def advance(self, revision: int) -> None:
        """Note that there is nothing of `revision` that this stream has not been told."""
        if self._asked and all(sub.is_answered for sub in self._types.values()):
            self.answered_revision = max(self.answered_revision, revision)
            if self.settled:
                self.acked_revision = max(self.acked_revision, revision)

    @property
    def _asked(self) -> bool:
        """Whether the client asked for what every Envoy asks for: clusters and listeners."""
        return CDS in self._types and LDS in self._types
