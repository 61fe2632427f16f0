"""What waits for the store and what is told of it at all: bounded, and what is left out is counted."""

from __future__ import annotations

from prometheus_client import REGISTRY

from meshwright.control_plane.api.models.events import Event
from meshwright.control_plane.events.rate_limit import MAX_PER_KIND, SUBJECT_INTERVAL, EventRateLimiter
from meshwright.control_plane.events.write_queue import EventWriteQueue
from meshwright.control_plane.store.events import BATCH_LIMIT, EventEntry


def entry(words: str) -> EventEntry:
    return EventEntry(Event(time=0, kind="lease", subject="a", message=words))


def words(entries: tuple[EventEntry, ...]) -> list[str]:
    return [one.event.message for one in entries]


def count(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0


def test_a_batch_stays_the_same_until_it_is_written() -> None:
    outbox = EventWriteQueue()
    assert outbox.next_batch() == (0, ())
    outbox.put([entry("a")])
    number, sent = outbox.next_batch()
    outbox.put([entry("b")])
    assert outbox.next_batch() == (number, sent)
    outbox.mark_written()
    later, sent = outbox.next_batch()
    assert (later, words(sent)) == (number + 1, ["b"])
    outbox.mark_written()
    assert outbox.next_batch()[1] == ()


def test_batches_are_bounded_and_keep_the_order() -> None:
    outbox = EventWriteQueue()
    outbox.put(entry(str(number)) for number in range(BATCH_LIMIT + 1))
    assert words(outbox.next_batch()[1]) == [str(number) for number in range(BATCH_LIMIT)]
    outbox.mark_written()
    assert words(outbox.next_batch()[1]) == [str(BATCH_LIMIT)]


def test_the_oldest_is_dropped_and_counted() -> None:
    before = count("mesh_events_dropped_total")
    outbox = EventWriteQueue(limit=3)
    outbox.put(entry(str(number)) for number in range(5))
    assert words(outbox.next_batch()[1]) == ["2", "3", "4"]
    assert count("mesh_events_dropped_total") - before == 2


def test_the_same_is_told_once_a_minute() -> None:
    sparing = EventRateLimiter()
    before = count("mesh_events_folded_total")
    assert sparing.allow("svid", "orders", 0)
    assert not sparing.allow("svid", "orders", SUBJECT_INTERVAL - 1)
    assert sparing.allow("svid", "stock", 1)
    assert sparing.allow("svid", "orders", SUBJECT_INTERVAL)
    assert count("mesh_events_folded_total") - before == 1


def test_a_flood_of_strangers_leaves_room_for_the_rest() -> None:
    sparing = EventRateLimiter()
    told = [sparing.allow("enrolment", str(number), number / 1000) for number in range(10_000)]
    assert sum(told) == MAX_PER_KIND
    assert sparing.allow("svid", "orders", 10)
    assert all(sparing.allow("lease", "orders-1", 10) for _ in range(1000))
    assert sparing.allow("enrolment", "again", SUBJECT_INTERVAL + 10)
