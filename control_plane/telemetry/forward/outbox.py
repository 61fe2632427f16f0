"""What waits to be passed on: bounded in bytes, joined into batches, the oldest left out first. Pure.

What is counted are spans, data points and log records. Each that was put is at any time either still here, in
a batch that was taken and not put back, or among those that `put` or `back` said were left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from control_plane.telemetry.intake import Signal

LIMIT = 64 * 1024 * 1024
"""Bytes that wait in all: half a minute of 5,000 spans a second, some hours of a mesh that samples 1 %."""

BATCH_BYTES = 512 * 1024
"""Of one request, unless a single piece is larger: collectors take 4 MiB unless told otherwise."""

BATCH_SECONDS = 1.0
"""How long a piece waits for others."""

OVERHEAD = 256
"""Bytes that a piece costs beside its own."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one resource told, encoded as a part of an export; `count` spans, points or records."""

    body: bytes
    count: int
    came: float

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return len(self.body) + OVERHEAD


@dataclass(frozen=True, slots=True)
class Batch:
    """Pieces that are sent as one export, oldest first."""

    signal: Signal
    pieces: tuple[Piece, ...]

    @property
    def body(self) -> bytes:
        """One export: protobuf merges repeated fields that follow each other."""
        return b"".join(one.body for one in self.pieces)

    @property
    def count(self) -> int:
        """Spans, points or records."""
        return sum(one.count for one in self.pieces)


Left = dict[Signal, int]
"""How many of each signal were left out."""


class Outbox:
    """A queue for each signal, with one bound for all. Times are of any clock that only goes forward."""

    def __init__(self, signals: Iterable[Signal], limit: int = LIMIT) -> None:
        self._queues: dict[Signal, deque[Piece]] = {one: deque() for one in signals}
        self._waiting = dict.fromkeys(self._queues, 0)
        self._limit = limit
        self.size = 0

    @property
    def signals(self) -> tuple[Signal, ...]:
        """What it has queues for."""
        return tuple(self._queues)

    def put(self, signal: Signal, piece: Piece) -> Left:
        """Add a piece; returns what was left out for it."""
        self._queues[signal].append(piece)
        self._count(signal, piece.size)
        return self._trim()

    def take(self, signal: Signal) -> Batch | None:
        """The oldest pieces of a signal, no longer in line; None when there are none."""
        queue, size = self._queues[signal], 0
        taken: list[Piece] = []
        while queue and (not taken or size + len(queue[0].body) <= BATCH_BYTES):
            piece = queue.popleft()
            size += len(piece.body)
            self._count(signal, -piece.size)
            taken.append(piece)
        return Batch(signal, tuple(taken)) if taken else None

    def back(self, batch: Batch) -> Left:
        """Put a batch that could not be sent where it was; returns what was left out for it."""
        self._queues[batch.signal].extendleft(reversed(batch.pieces))
        self._count(batch.signal, sum(one.size for one in batch.pieces))
        return self._trim()

    def due(self, signal: Signal) -> float | None:
        """When the next batch of a signal is to be sent; -inf: at once; None: there is nothing."""
        queue = self._queues[signal]
        if not queue:
            return None
        return float("-inf") if self._waiting[signal] >= BATCH_BYTES else queue[0].came + BATCH_SECONDS

    def clear(self) -> Left:
        """Leave out all that waits; returns what that was."""
        left = {one: sum(piece.count for piece in queue) for one, queue in self._queues.items() if queue}
        for one, queue in self._queues.items():
            queue.clear()
            self._count(one, -self._waiting[one])
        return left

    def _trim(self) -> Left:
        left: Left = {}
        while self.size > self._limit:
            heads = [(queue[0].came, signal) for signal, queue in self._queues.items() if queue]
            signal = min(heads)[1]
            piece = self._queues[signal].popleft()
            self._count(signal, -piece.size)
            left[signal] = left.get(signal, 0) + piece.count
        return left

    def _count(self, signal: Signal, size: int) -> None:
        self._waiting[signal] += size
        self.size += size
