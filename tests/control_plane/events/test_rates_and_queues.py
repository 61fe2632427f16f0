"""Queued events are limited in number and rate; those that are left out are counted."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from meshwright.control_plane.api.models.events import Event
from meshwright.control_plane.events.rate_limit import (
    MAX_PER_OWNER,
    MAX_STRANGERS,
    SUBJECT_INTERVAL,
    EventRateLimiter,
)
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
    assert limiter.allow("svid", "orders", "renewed", 0)
    assert not limiter.allow("svid", "orders", "renewed", SUBJECT_INTERVAL - 1)
    assert limiter.allow("svid", "stock", "renewed too", 1)
    assert limiter.allow("svid", "orders", "renewed", SUBJECT_INTERVAL)
    assert count("mesh_events_suppressed_total") - before == 1


def test_allow_a_breaker_that_opens_again() -> None:
    limiter = EventRateLimiter()
    for number in range(3):
        assert limiter.allow("breaker", "orders", "opened", number * 2)
        assert limiter.allow("breaker", "orders", "closed", number * 2 + 1)


@pytest.mark.parametrize("kind", ["svid", "lease", "instance", "sidecar", "nack", "breaker", "ejection"])
def test_allow_a_flood_of_one_owner_leaves_the_share_of_others(kind: str) -> None:
    limiter = EventRateLimiter()
    flags = [limiter.allow(kind, "evil", str(number), number / 1000) for number in range(10_000)]
    assert sum(flags) == MAX_PER_OWNER
    flags = [limiter.allow(kind, "orders", f"orders-{number}", 10) for number in range(MAX_PER_OWNER)]
    assert all(flags)
    assert all(limiter.allow("revision", "", "2", 10) for _ in range(1000))
    assert limiter.allow(kind, "evil", "again", SUBJECT_INTERVAL + 10)


def test_what_was_left_out_is_folded_into_one_event_a_minute() -> None:
    limiter = EventRateLimiter()
    for number in range(MAX_PER_OWNER + 7):
        limiter.allow("lease", "evil", f"evil-{number}", 100)
    assert limiter.folded(100) == [("lease", "evil", 7)]
    limiter.allow("lease", "evil", "evil-99", 101)
    assert limiter.folded(102) == []
    assert limiter.folded(100 + SUBJECT_INTERVAL) == [("lease", "evil", 1)]
    assert limiter.folded(10_000) == []


def test_strangers_share_one_limit_whatever_their_addresses() -> None:
    limiter = EventRateLimiter()
    flags = [limiter.allow("enrolment", f"10.0.0.{n}", f"refused {n}", n / 1000) for n in range(10_000)]
    assert sum(flags) == MAX_STRANGERS
    assert limiter.folded(60) == [("enrolment", "", 10_000 - MAX_STRANGERS)]
