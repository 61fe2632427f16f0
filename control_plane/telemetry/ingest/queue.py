"""What waits to be folded: a queue bounded in bytes, in all and for each identity. Pure.

Telemetry is told for nothing if it slows the mesh: what does not fit is left out and counted.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Literal, NamedTuple

from meshwright.control_plane.api.spiffe import Identity

Signal = Literal["metrics", "traces", "logs"]

MAX_MESSAGE_BYTES = 1024 * 1024
"""Bytes of one message: Envoy's flushes have some 10 kB, its batches of spans some 100 kB."""

MAX_QUEUED_BYTES = 32 * 1024 * 1024
"""Bytes that wait in all."""

MAX_QUEUED_BYTES_PER_IDENTITY = 8 * 1024 * 1024
"""Bytes of one identity that wait: one that floods leaves room for the others."""

MESSAGE_OVERHEAD = 256
"""Bytes that a message costs beside its body, so that a flood of empty ones is bounded too."""


class QueuedMessage(NamedTuple):
    """One message; `came` by the clock that is used for folding."""

    signal: Signal
    identity: Identity
    body: bytes
    received_at: float


class EnqueueResult(NamedTuple):
    """What became of a message: whether it is in line, and why it or others are left out."""

    accepted: bool
    dropped: tuple[str, ...] = ()


class FairQueue:
    """What waits: of each identity the oldest first, and the identities in turn.

    When all is full, who has most in line makes room for who has less.
    """

    def __init__(
        self, max_bytes: int = MAX_QUEUED_BYTES, max_bytes_per_identity: int = MAX_QUEUED_BYTES_PER_IDENTITY
    ) -> None:
        self._max_bytes, self._max_bytes_per_identity = max_bytes, max_bytes_per_identity
        self._queues: OrderedDict[Identity, deque[QueuedMessage]] = OrderedDict()
        self._queued_by_identity: dict[Identity, int] = {}
        self.queued_bytes = 0

    def enqueue(self, waiting: QueuedMessage) -> EnqueueResult:
        """Put a message in line."""
        if len(waiting.body) > MAX_MESSAGE_BYTES:
            return EnqueueResult(False, ("too large",))
        identity, size = waiting.identity, _size(waiting)
        share = self._queued_by_identity.get(identity, 0) + size
        if share > self._max_bytes_per_identity:
            return EnqueueResult(False, ("identity's share",))
        left_out = 0
        while self.queued_bytes + size > self._max_bytes:
            heaviest = max(
                self._queued_by_identity, key=self._queued_by_identity.__getitem__, default=identity
            )
            if self._queued_by_identity.get(heaviest, 0) <= share:
                return EnqueueResult(False, ("overload",) * (left_out + 1))
            self._pop(heaviest)
            left_out += 1
        self._queues.setdefault(identity, deque()).append(waiting)
        self._queued_by_identity[identity] = share
        self.queued_bytes += size
        return EnqueueResult(True, ("overload",) * left_out)

    def dequeue(self) -> QueuedMessage | None:
        """A message, no longer in line; None when there is none."""
        if not self._queues:
            return None
        identity = next(iter(self._queues))
        waiting = self._pop(identity)
        if identity in self._queues:
            self._queues.move_to_end(identity)
        return waiting

    def _pop(self, identity: Identity) -> QueuedMessage:
        """Take an identity's oldest message out of line."""
        waiting = self._queues[identity].popleft()
        self.queued_bytes -= _size(waiting)
        self._queued_by_identity[identity] -= _size(waiting)
        if not self._queues[identity]:
            del self._queues[identity], self._queued_by_identity[identity]
        return waiting


def _size(waiting: QueuedMessage) -> int:
    return len(waiting.body) + MESSAGE_OVERHEAD
