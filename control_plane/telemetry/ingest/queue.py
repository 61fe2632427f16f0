"""A queue of telemetry messages, bounded in bytes in total and per identity.

Telemetry must never slow the mesh down: messages that do not fit are dropped and counted.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Literal, NamedTuple

from meshwright.control_plane.api.spiffe import Identity

Signal = Literal["metrics", "traces", "logs"]

MAX_MESSAGE_BYTES = 1024 * 1024
"""Size of one message. A flush of Envoy's metrics is about 10 kB, a batch of its spans about 100 kB."""

MAX_QUEUED_BYTES = 32 * 1024 * 1024
"""Size of all queued messages."""

MAX_QUEUED_BYTES_PER_IDENTITY = 8 * 1024 * 1024
"""Size of the queued messages of one identity, so that a flood from one leaves room for the others."""

MESSAGE_OVERHEAD = 256
"""Bytes added to the size of each message, so that a flood of empty messages is bounded as well."""


class QueuedMessage(NamedTuple):
    """One message. `received_at` is read from the clock that the signal handlers use."""

    signal: Signal
    identity: Identity
    body: bytes
    received_at: float


class EnqueueResult(NamedTuple):
    """Whether a message was queued, and a reason for each message dropped because of it."""

    accepted: bool
    dropped: tuple[str, ...] = ()


class FairQueue:
    """First in, first out for each identity; round robin across identities.

    When the queue is full, the identity with the most queued bytes makes room for one with fewer.
    """

    def __init__(
        self,
        max_bytes: int = MAX_QUEUED_BYTES,
        max_bytes_per_identity: int = MAX_QUEUED_BYTES_PER_IDENTITY,
    ) -> None:
        self._max_bytes, self._max_bytes_per_identity = max_bytes, max_bytes_per_identity
        self._queues: OrderedDict[Identity, deque[QueuedMessage]] = OrderedDict()
        self._queued_by_identity: dict[Identity, int] = {}
        self.queued_bytes = 0

    def enqueue(self, message: QueuedMessage) -> EnqueueResult:
        """Add a message, or drop it."""
        if len(message.body) > MAX_MESSAGE_BYTES:
            return EnqueueResult(False, ("too large",))
        identity, size = message.identity, _size(message)
        queued = self._queued_by_identity.get(identity, 0) + size
        if queued > self._max_bytes_per_identity:
            return EnqueueResult(False, ("identity's share",))
        dropped = 0
        while self.queued_bytes + size > self._max_bytes:
            largest = max(
                self._queued_by_identity, key=self._queued_by_identity.__getitem__, default=identity
            )
            if self._queued_by_identity.get(largest, 0) <= queued:
                return EnqueueResult(False, ("overload",) * (dropped + 1))
            self._pop(largest)
            dropped += 1
        self._queues.setdefault(identity, deque()).append(message)
        self._queued_by_identity[identity] = queued
        self.queued_bytes += size
        return EnqueueResult(True, ("overload",) * dropped)

    def dequeue(self) -> QueuedMessage | None:
        """Remove and return the next message; None if the queue is empty."""
        if not self._queues:
            return None
        identity = next(iter(self._queues))
        message = self._pop(identity)
        if identity in self._queues:
            self._queues.move_to_end(identity)
        return message

    def _pop(self, identity: Identity) -> QueuedMessage:
        """Remove an identity's oldest message."""
        message = self._queues[identity].popleft()
        self.queued_bytes -= _size(message)
        self._queued_by_identity[identity] -= _size(message)
        if not self._queues[identity]:
            del self._queues[identity], self._queued_by_identity[identity]
        return message


def _size(message: QueuedMessage) -> int:
    return len(message.body) + MESSAGE_OVERHEAD
