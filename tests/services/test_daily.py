"""Daily figures: each event counts for the day of its timestamp, in any order."""

from __future__ import annotations

import pytest

from meshwright.services.analytics.daily import DailyAddition, addition
from meshwright.services.events.event import ServiceEvent, from_fields, to_fields

DAY = 1_767_225_600_000
"""2026-01-01 00:00 UTC."""


def test_event_counts_for_the_day_of_its_timestamp() -> None:
    data = {"orderId": "o", "total": 700, "timestamp": DAY - 1}
    assert addition(ServiceEvent("order.created", "o:1", data)) == DailyAddition("2025-12-31", "created", 0)
    confirmed = ServiceEvent("order.confirmed", "o:2", {**data, "timestamp": DAY})
    assert addition(confirmed) == DailyAddition("2026-01-01", "confirmed", 700)


@pytest.mark.parametrize(
    "event",
    [
        ServiceEvent("order.eaten", "o:1", {"timestamp": DAY}),
        ServiceEvent("order.created", "o:1", {}),
        ServiceEvent("order.confirmed", "o:1", {"timestamp": DAY, "total": -1}),
        ServiceEvent("order.created", "o:1", {"timestamp": 2**60}),
    ],
)
def test_event_that_is_not_valid_is_refused(event: ServiceEvent) -> None:
    with pytest.raises(ValueError, match=r"."):
        addition(event)


def test_event_survives_its_stream() -> None:
    event = ServiceEvent("order.created", "o:1", {"items": [{"productId": "ä", "quantity": 2}]})
    assert from_fields(event.name, to_fields(event)) == event
    for fields in ({}, {"id": "x", "data": "[]"}, {"id": "", "data": "{}"}):
        with pytest.raises(ValueError, match=r"."):
            from_fields("order.created", fields)
