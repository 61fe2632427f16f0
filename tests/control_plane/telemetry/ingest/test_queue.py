"""The fair queue: its limits, and in which order senders are served."""

from __future__ import annotations

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.telemetry.ingest.queue import (
    MAX_MESSAGE_BYTES,
    MESSAGE_OVERHEAD,
    EnqueueResult,
    FairQueue,
    QueuedMessage,
)
from tests.fakes.pki import DOMAIN


def message(name: str, size: int = 100) -> QueuedMessage:
    return QueuedMessage("metrics", Identity(DOMAIN, "service", name), bytes(size), 0.0)


def order_of(queue: FairQueue) -> str:
    """The names of the senders in the order of dequeueing."""
    return "".join(message.identity.name for message in iter(queue.dequeue, None))


def test_the_queue_is_limited_and_frees_what_is_dequeued() -> None:
    queue = FairQueue(
        max_bytes=3 * (100 + MESSAGE_OVERHEAD), max_bytes_per_identity=2 * (100 + MESSAGE_OVERHEAD)
    )
    for name, reason in (("a", ""), ("a", ""), ("a", "identity's share"), ("b", "")):
        assert queue.enqueue(message(name)).dropped == ((reason,) if reason else ())
    assert queue.queued_bytes == 3 * (100 + MESSAGE_OVERHEAD)
    assert order_of(queue) == "aba"
    assert queue.queued_bytes == 0
    assert queue.enqueue(message("a", MAX_MESSAGE_BYTES + 1)) == EnqueueResult(False, ("too large",))
    assert queue.enqueue(message("a")) == EnqueueResult(True)


def test_the_largest_sender_makes_room_for_smaller_ones() -> None:
    queue = FairQueue(max_bytes=4 * (100 + MESSAGE_OVERHEAD))
    for _ in range(4):
        assert queue.enqueue(message("a")) == EnqueueResult(True)
    assert queue.enqueue(message("a")) == EnqueueResult(False, ("overload",))
    assert queue.enqueue(message("b")) == EnqueueResult(True, ("overload",))
    assert queue.enqueue(message("b")) == EnqueueResult(True, ("overload",))
    assert queue.enqueue(message("b")) == EnqueueResult(False, ("overload",))
    assert order_of(queue) == "abab"


def test_senders_are_served_round_robin() -> None:
    queue = FairQueue()
    for name in "aaaaabbc":
        queue.enqueue(message(name))
    assert order_of(queue) == "abcabaaa"
