"""Queued events are limited in number and rate; those that are left out are counted."""

from __future__ import annotations

from prometheus_client import REGISTRY

from meshwright.control_plane.api.models.events import Event
from meshwright.control_plane.events.rate_limit import MAX_PER_KIND, SUBJECT_INTERVAL, EventRateLimiter
from meshwright.control_plane.events.write_queue import EventWriteQueue
from meshwright.control_plane.store.events import BATCH_LIMIT, EventEntry


def entry(message: str) -> EventEntry:
    return EventEntry(Event(time=0, kind="lease", subject="a", message=message))


def messages(entries: tuple[EventEntry, ...]) -> list[str]:
    return [entry.event.message for entry in entries]


def count(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0


def test_next_batch_is_the_same_until_written() -> None:
    queue = EventWriteQueue()
    assert queue.next_batch() == (0, ())
    queue.put([entry("a")])
    number, sent = queue.next_batch()
    queue.put([entry("b")])
    assert queue.next_batch() == (number, sent)
    queue.mark_written()
    later, sent = queue.next_batch()
    assert (later, messages(sent)) == (number + 1, ["b"])
    queue.mark_written()
    assert queue.next_batch()[1] == ()


def test_next_batch_is_limited_and_in_order() -> None:
    queue = EventWriteQueue()
    queue.put(entry(str(number)) for number in range(BATCH_LIMIT + 1))
    assert messages(queue.next_batch()[1]) == [str(number) for number in range(BATCH_LIMIT)]
    queue.mark_written()
    assert messages(queue.next_batch()[1]) == [str(BATCH_LIMIT)]


def test_put_above_the_capacity_drops_the_oldest() -> None:
    before = count("mesh_events_dropped_total")
    queue = EventWriteQueue(capacity=3)
    queue.put(entry(str(number)) for number in range(5))
    assert messages(queue.next_batch()[1]) == ["2", "3", "4"]
    assert count("mesh_events_dropped_total") - before == 2


def test_allow_same_subject_once_a_minute() -> None:
    limiter = EventRateLimiter()
    before = count("mesh_events_suppressed_total")
    assert limiter.allow("svid", "orders", 0)
    assert not limiter.allow("svid", "orders", SUBJECT_INTERVAL - 1)
    assert limiter.allow("svid", "stock", 1)
    assert limiter.allow("svid", "orders", SUBJECT_INTERVAL)
    assert count("mesh_events_suppressed_total") - before == 1


def test_allow_flood_of_one_kind_leaves_room_for_others() -> None:
    limiter = EventRateLimiter()
    flags = [limiter.allow("enrolment", str(number), number / 1000) for number in range(10_000)]
    assert sum(flags) == MAX_PER_KIND
    assert limiter.allow("svid", "orders", 10)
    assert all(limiter.allow("lease", "orders-1", 10) for _ in range(1000))
    assert limiter.allow("enrolment", "again", SUBJECT_INTERVAL + 10)
