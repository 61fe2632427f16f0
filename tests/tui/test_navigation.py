"""Locations: their titles."""

from __future__ import annotations

from meshwright.tui.navigation import (
    EdgeLocation,
    EventsLocation,
    Location,
    PolicyLocation,
    TabLocation,
    TraceLocation,
    TracesLocation,
)


def test_every_location_has_a_title() -> None:
    locations: list[Location] = [
        EdgeLocation("a", "b"),
        TracesLocation("a", errors=True),
        TraceLocation("ab" * 16),
        PolicyLocation("Retry", "r"),
        EventsLocation("a"),
    ]
    assert [location.title for location in locations] == [
        "a → b", "failed traces of a", "trace abababab", "Retry r", "events of a",
    ]  # fmt: skip
    assert TabLocation("services").title == "Services"
