"""What waits to be folded: a queue bounded in bytes, in all and for each identity. Pure.

Telemetry is told for nothing if it slows the mesh: what does not fit is left out and counted.
"""

from __future__ import annotations

from collections import deque
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


class Backlog:
    """The queue, oldest first."""

    def __init__(self, total: int = QUEUE_LIMIT, share: int = SHARE_LIMIT) -> None:
        self._total, self._share = total, share
        self._queue: deque[Waiting] = deque()
        self._shares: dict[Identity, int] = {}
        self.queued = 0

    def offer(self, waiting: Waiting) -> str:
        """Put a message in line; returns why it is left out, empty when it is not."""
        size = len(waiting.body) + OVERHEAD
        if len(waiting.body) > MESSAGE_LIMIT:
            return "too large"
        share = self._shares.get(waiting.identity, 0) + size
        if share > self._share:
            return "identity's share"
        if self.queued + size > self._total:
            return "overload"
        self._queue.append(waiting)
        self._shares[waiting.identity] = share
        self.queued += size
        return ""

    def next(self) -> Waiting | None:
        """The oldest message, no longer in line; None when there is none."""
        if not self._queue:
            return None
        waiting = self._queue.popleft()
        size = len(waiting.body) + OVERHEAD
        self.queued -= size
        self._shares[waiting.identity] -= size
        if not self._shares[waiting.identity]:
            del self._shares[waiting.identity]
        return waiting
