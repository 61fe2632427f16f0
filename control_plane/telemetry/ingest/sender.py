"""What a sender of telemetry may say about itself: its nodes, and times near the present. Pure.

The certificate proves the service or gateway. The name of the node is what the sender says, so it must not be
one that is known as another identity's: `mesh why` and traces name nodes as witnesses.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from meshwright.control_plane.api.spiffe import Identity

MAX_AGE = 86_400.0
"""Seconds since the start of a request: streams live long, and are reported at their end."""

MAX_AHEAD = 300.0
"""Seconds by which the clock of a sender may be ahead."""

NodeOwners = Callable[[str], Collection[str]]
"""The services and gateways that are known to have a node of this name."""


def _no_owners(_node: str) -> Collection[str]:
    return ()


@dataclass(frozen=True, slots=True)
class SenderCheck:
    """`owners` of nodes; `now` in seconds since the epoch. Without a clock all times are accepted."""

    owners: NodeOwners = _no_owners
    now: Callable[[], float] | None = None

    def is_foreign(self, sender: Identity, node: str) -> bool:
        """Whether the node is known, but not as one of the sender's."""
        owners = self.owners(node)
        return bool(owners) and sender.name not in owners

    def is_absurd(self, start: float, end: float) -> bool:
        """Whether a request cannot have taken place between these times."""
        if self.now is None:
            return False
        now = self.now()
        return start < now - MAX_AGE or max(start, end) > now + MAX_AHEAD


ACCEPT_ALL = SenderCheck()
