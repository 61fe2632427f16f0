"""The export queue: bounded in bytes, batched, oldest dropped first.

Spans, data points and log records are counted. Each one that was put is at any time in the queue, in a batch
that was taken and not put back, or in the counts that `put`, `put_back` or `drain` returned as dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from meshwright.control_plane.telemetry.ingest.queue import Signal

MAX_BYTES = 64 * 1024 * 1024
"""Size of everything queued: half a minute of 5,000 spans/s, hours of a mesh that samples 1 %."""

MAX_BATCH_BYTES = 512 * 1024
"""Size of one request, unless a single chunk is larger. Collectors accept 4 MiB by default."""

BATCH_DELAY = 1.0
"""Seconds that a chunk waits for others."""

CHUNK_OVERHEAD = 256
"""Bytes of memory for a chunk besides its body."""


@dataclass(frozen=True, slots=True)
class ResourceChunk:
    """The telemetry of one resource as an encoded export with `count` spans, data points or log records."""

    body: bytes
    count: int
    received_at: float

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return len(self.body) + CHUNK_OVERHEAD


@dataclass(frozen=True, slots=True)
class Batch:
    """Chunks that are sent in one request, oldest first."""

    signal: Signal
    chunks: tuple[ResourceChunk, ...]

    @property
    def body(self) -> bytes:
        """One export. Protobuf merges repeated fields of concatenated messages."""
        return b"".join(chunk.body for chunk in self.chunks)

    @property
    def count(self) -> int:
        """Spans, data points or log records."""
        return sum(chunk.count for chunk in self.chunks)


DroppedCounts = dict[Signal, int]
"""Spans, data points and log records that were dropped, by signal."""


class ExportQueue:
    """A queue for each signal with one limit for all. Times are of any monotonic clock."""

    def __init__(self, signals: Iterable[Signal], max_bytes: int = MAX_BYTES) -> None:
        self._queues: dict[Signal, deque[ResourceChunk]] = {signal: deque() for signal in signals}
        self._bytes_by_signal = dict.fromkeys(self._queues, 0)
        self._max_bytes = max_bytes
        self.size_bytes = 0

    @property
    def signals(self) -> tuple[Signal, ...]:
        """The signals it has a queue for."""
        return tuple(self._queues)

    def put(self, signal: Signal, chunk: ResourceChunk) -> DroppedCounts:
        """Add a chunk; returns what was dropped to make room."""
        self._queues[signal].append(chunk)
        self._add_size(signal, chunk.size)
        return self._trim()

    def take_batch(self, signal: Signal) -> Batch | None:
        """Remove and return the oldest chunks of a signal; None if there are none."""
        queue, size = self._queues[signal], 0
        chunks: list[ResourceChunk] = []
        while queue and (not chunks or size + len(queue[0].body) <= MAX_BATCH_BYTES):
            chunk = queue.popleft()
            size += len(chunk.body)
            self._add_size(signal, -chunk.size)
            chunks.append(chunk)
        return Batch(signal, tuple(chunks)) if chunks else None

    def put_back(self, batch: Batch) -> DroppedCounts:
        """Return a batch that could not be sent to its place; returns what was dropped to make room."""
        self._queues[batch.signal].extendleft(reversed(batch.chunks))
        self._add_size(batch.signal, sum(chunk.size for chunk in batch.chunks))
        return self._trim()

    def next_due(self, signal: Signal) -> float | None:
        """When the next batch of a signal should be sent; -inf for at once, None if there is nothing."""
        queue = self._queues[signal]
        if not queue:
            return None
        if self._bytes_by_signal[signal] >= MAX_BATCH_BYTES:
            return float("-inf")
        return queue[0].received_at + BATCH_DELAY

    def drain(self) -> DroppedCounts:
        """Drop everything; returns how much that was."""
        dropped = {
            signal: sum(chunk.count for chunk in queue) for signal, queue in self._queues.items() if queue
        }
        for signal, queue in self._queues.items():
            queue.clear()
            self._add_size(signal, -self._bytes_by_signal[signal])
        return dropped

    def _trim(self) -> DroppedCounts:
        """Drop the oldest chunks beyond the limit."""
        dropped: DroppedCounts = {}
        while self.size_bytes > self._max_bytes:
            oldest = [(queue[0].received_at, signal) for signal, queue in self._queues.items() if queue]
            signal = min(oldest)[1]
            chunk = self._queues[signal].popleft()
            self._add_size(signal, -chunk.size)
            dropped[signal] = dropped.get(signal, 0) + chunk.count
        return dropped

    def _add_size(self, signal: Signal, size: int) -> None:
        self._bytes_by_signal[signal] += size
        self.size_bytes += size
