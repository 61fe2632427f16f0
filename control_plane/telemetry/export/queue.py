"""What waits to be passed on: bounded in bytes, joined into batches, the oldest left out first. Pure.

What is counted are spans, data points and log records. Each that was put is at any time either still here, in
a batch that was taken and not put back, or among those that `put` or `back` said were left out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from meshwright.control_plane.telemetry.ingest.queue import Signal

MAX_BYTES = 64 * 1024 * 1024
"""Bytes that wait in all: half a minute of 5,000 spans a second, some hours of a mesh that samples 1 %."""

MAX_BATCH_BYTES = 512 * 1024
"""Of one request, unless a single piece is larger: collectors take 4 MiB unless told otherwise."""

BATCH_DELAY = 1.0
"""How long a piece waits for others."""

CHUNK_OVERHEAD = 256
"""Bytes that a piece costs beside its own."""


@dataclass(frozen=True, slots=True)
class ResourceChunk:
    """What one resource told, encoded as a part of an export; `count` spans, points or records."""

    body: bytes
    count: int
    received_at: float

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return len(self.body) + CHUNK_OVERHEAD


@dataclass(frozen=True, slots=True)
class Batch:
    """Pieces that are sent as one export, oldest first."""

    signal: Signal
    chunks: tuple[ResourceChunk, ...]

    @property
    def body(self) -> bytes:
        """One export: protobuf merges repeated fields that follow each other."""
        return b"".join(one.body for one in self.chunks)

    @property
    def count(self) -> int:
        """Spans, points or records."""
        return sum(one.count for one in self.chunks)


DroppedCounts = dict[Signal, int]
"""How many of each signal were left out."""


class ExportQueue:
    """A queue for each signal, with one bound for all. Times are of any clock that only goes forward."""

    def __init__(self, signals: Iterable[Signal], max_bytes: int = MAX_BYTES) -> None:
        self._queues: dict[Signal, deque[ResourceChunk]] = {one: deque() for one in signals}
        self._bytes_by_signal = dict.fromkeys(self._queues, 0)
        self._limit = max_bytes
        self.size_bytes = 0

    @property
    def signals(self) -> tuple[Signal, ...]:
        """What it has queues for."""
        return tuple(self._queues)

    def put(self, signal: Signal, piece: ResourceChunk) -> DroppedCounts:
        """Add a piece; returns what was left out for it."""
        self._queues[signal].append(piece)
        self._count(signal, piece.size)
        return self._trim()

    def take_batch(self, signal: Signal) -> Batch | None:
        """The oldest pieces of a signal, no longer in line; None when there are none."""
        queue, size = self._queues[signal], 0
        taken: list[ResourceChunk] = []
        while queue and (not taken or size + len(queue[0].body) <= MAX_BATCH_BYTES):
            piece = queue.popleft()
            size += len(piece.body)
            self._count(signal, -piece.size)
            taken.append(piece)
        return Batch(signal, tuple(taken)) if taken else None

    def put_back(self, batch: Batch) -> DroppedCounts:
        """Put a batch that could not be sent where it was; returns what was left out for it."""
        self._queues[batch.signal].extendleft(reversed(batch.chunks))
        self._count(batch.signal, sum(one.size for one in batch.chunks))
        return self._trim()

    def next_due(self, signal: Signal) -> float | None:
        """When the next batch of a signal is to be sent; -inf: at once; None: there is nothing."""
        queue = self._queues[signal]
        if not queue:
            return None
        return (
            float("-inf")
            if self._bytes_by_signal[signal] >= MAX_BATCH_BYTES
            else queue[0].received_at + BATCH_DELAY
        )

    def drain(self) -> DroppedCounts:
        """Leave out all that waits; returns what that was."""
        left = {one: sum(piece.count for piece in queue) for one, queue in self._queues.items() if queue}
        for one, queue in self._queues.items():
            queue.clear()
            self._count(one, -self._bytes_by_signal[one])
        return left

    def _trim(self) -> DroppedCounts:
        left: DroppedCounts = {}
        while self.size_bytes > self._limit:
            heads = [(queue[0].received_at, signal) for signal, queue in self._queues.items() if queue]
            signal = min(heads)[1]
            piece = self._queues[signal].popleft()
            self._count(signal, -piece.size)
            left[signal] = left.get(signal, 0) + piece.count
        return left

    def _count(self, signal: Signal, size: int) -> None:
        self._bytes_by_signal[signal] += size
        self.size_bytes += size
