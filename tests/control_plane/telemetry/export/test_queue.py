"""The export queue: its limit, its batches, and that every item is accounted for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.control_plane.telemetry.export import queue as queue_module
from meshwright.control_plane.telemetry.export.queue import CHUNK_OVERHEAD, Batch, ExportQueue, ResourceChunk
from meshwright.control_plane.telemetry.ingest.queue import Signal

SIGNALS: tuple[Signal, ...] = ("metrics", "traces")


def chunk_of(size: int = 100, count: int = 1, received_at: float = 0.0) -> ResourceChunk:
    return ResourceChunk(bytes(size), count, received_at)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(SIGNALS), st.integers(0, 900), st.integers(1, 9)),
        st.tuples(
            st.sampled_from(["take", "back", "sent"]), st.sampled_from(SIGNALS), st.just(0), st.just(0)
        ),
    ),
    max_size=60,
)


@given(STEPS)
def test_every_item_is_accounted_for_and_the_limit_holds(
    steps: list[tuple[str, Signal, int, int]],
) -> None:
    queue = ExportQueue(SIGNALS, max_bytes=4_000)
    put = dropped = sent = 0
    in_flight: dict[Signal, Batch] = {}
    for now, (step, signal, size, count) in enumerate(steps):
        if step == "put":
            dropped += sum(queue.put(signal, chunk_of(size, count, now)).values())
            put += count
        elif step == "take" and signal not in in_flight:
            is_empty = queue.next_due(signal) is None
            batch = queue.take_batch(signal)
            assert (batch is None) == is_empty
            if batch:
                in_flight[signal] = batch
        elif signal in in_flight and step == "back":
            dropped += sum(queue.put_back(in_flight.pop(signal)).values())
        elif signal in in_flight and step == "sent":
            sent += in_flight.pop(signal).count
        assert queue.size_bytes <= 4_000
    queued = sum(queue.drain().values())
    assert put == dropped + sent + queued + sum(item.count for item in in_flight.values())
    assert queue.size_bytes == 0


def test_batches_are_limited_and_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "MAX_BATCH_BYTES", 250)
    queue = ExportQueue(SIGNALS)
    for received_at in range(5):
        queue.put("traces", chunk_of(100, received_at=received_at))
    queue.put("traces", chunk_of(900, received_at=5))
    sizes = [
        [chunk.received_at for chunk in batch.chunks]
        for batch in iter(lambda: queue.take_batch("traces"), None)
    ]
    assert sizes == [[0, 1], [2, 3], [4], [5]]


def test_a_batch_is_due_when_it_is_full_or_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "MAX_BATCH_BYTES", 1000)
    queue = ExportQueue(SIGNALS)
    assert queue.next_due("traces") is None
    queue.put("traces", chunk_of(100, received_at=7.0))
    assert queue.next_due("traces") == 7.0 + queue_module.BATCH_DELAY
    assert queue.next_due("metrics") is None
    queue.put("traces", chunk_of(1000, received_at=8.0))
    assert queue.next_due("traces") == float("-inf")


def test_the_oldest_of_all_signals_makes_room() -> None:
    queue = ExportQueue(SIGNALS, max_bytes=3 * (100 + CHUNK_OVERHEAD))
    for received_at, signal in enumerate(("metrics", "traces", "metrics")):
        assert queue.put(signal, chunk_of(count=10 + received_at, received_at=received_at)) == {}  # type: ignore[arg-type]
    assert queue.put("traces", chunk_of(received_at=3)) == {"metrics": 10}
    assert queue.put("traces", chunk_of(received_at=4)) == {"traces": 11}


def test_a_returned_batch_is_first_in_order_and_first_to_be_dropped() -> None:
    queue = ExportQueue(SIGNALS, max_bytes=2 * (100 + CHUNK_OVERHEAD))
    queue.put("traces", chunk_of(count=1, received_at=0))
    batch = queue.take_batch("traces")
    assert batch is not None
    queue.put("traces", chunk_of(count=2, received_at=1))
    queue.put("traces", chunk_of(count=3, received_at=2))
    assert queue.put_back(batch) == {"traces": 1}
    again = queue.take_batch("traces")
    assert again is not None and [chunk.count for chunk in again.chunks] == [2, 3]
