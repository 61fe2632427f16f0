"""What waits to be folded: a queue bounded in bytes, in all and for each identity. Pure.

Telemetry is told for nothing if it slows the mesh: what does not fit is left out and counted.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Literal, NamedTuple

from control_plane.api.spiffe import Identity

Signal = Literal["metrics", "traces", "logs"]

MESSAGE_LIMIT = 1024 * 1024
"""Bytes of one message: Envoy's flushes have some 10 kB, its batches of spans some 100 kB."""

QUEUE_LIMIT = 32 * 1024 * 1024
"""Bytes that wait in all."""

SHARE_LIMIT = 8 * 1024 * 1024
"""Bytes of one identity that wait: one that floods leaves room for the others."""

OVERHEAD = 256
"""Bytes that a message costs beside its body, so that a flood of empty ones is bounded too."""


class Waiting(NamedTuple):
    """One message; `came` by the clock that is used for folding."""

    signal: Signal
    identity: Identity
    body: bytes
    came: float


class Offer(NamedTuple):
    """What became of a message: whether it is in line, and why it or others are left out."""

    taken: bool
    left_out: tuple[str, ...] = ()


class Backlog:
    """What waits: of each identity the oldest first, and the identities in turn.

    When all is full, who has most in line makes room for who has less.
    """

    def __init__(self, total: int = QUEUE_LIMIT, share: int = SHARE_LIMIT) -> None:
        self._total, self._share = total, share
        self._queues: OrderedDict[Identity, deque[Waiting]] = OrderedDict()
        self._shares: dict[Identity, int] = {}
        self.queued = 0

    def offer(self, waiting: Waiting) -> Offer:
        """Put a message in line."""
        if len(waiting.body) > MESSAGE_LIMIT:
            return Offer(False, ("too large",))
        identity, size = waiting.identity, _size(waiting)
        share = self._shares.get(identity, 0) + size
        if share > self._share:
            return Offer(False, ("identity's share",))
        left_out = 0
        while self.queued + size > self._total:
            heaviest = max(self._shares, key=self._shares.__getitem__, default=identity)
            if self._shares.get(heaviest, 0) <= share:
                return Offer(False, ("overload",) * (left_out + 1))
            self._pop(heaviest)
            left_out += 1
        self._queues.setdefault(identity, deque()).append(waiting)
        self._shares[identity] = share
        self.queued += size
        return Offer(True, ("overload",) * left_out)

    def next(self) -> Waiting | None:
        """A message, no longer in line; None when there is none."""
        if not self._queues:
            return None
        identity = next(iter(self._queues))
        waiting = self._pop(identity)
        if identity in self._queues:
            self._queues.move_to_end(identity)
        return waiting

    def _pop(self, identity: Identity) -> Waiting:
        """Take an identity's oldest message out of line."""
        waiting = self._queues[identity].popleft()
        self.queued -= _size(waiting)
        self._shares[identity] -= _size(waiting)
        if not self._queues[identity]:
            del self._queues[identity], self._shares[identity]
        return waiting


def _size(waiting: Waiting) -> int:
    return len(waiting.body) + OVERHEAD
