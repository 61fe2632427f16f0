"""Locations: their tabs and titles."""

from __future__ import annotations

from meshwright.tui.navigation import (
    TABS,
    EdgeLocation,
    EventsLocation,
    Location,
    PolicyLocation,
    TabLocation,
    TraceLocation,
    TracesLocation,
    tab_of,
)


def test_every_location_has_a_tab_and_a_title() -> None:
    locations: list[Location] = [
        EdgeLocation("a", "b"),
        TracesLocation("a", errors=True),
        TraceLocation("ab" * 16),
        PolicyLocation("Retry", "r"),
        EventsLocation("a"),
    ]
    assert [tab_of(location) for location in locations] == [
        "topology", "traces", "traces", "policies", "events",
    ]  # fmt: skip
    assert [location.title for location in locations] == [
        "a → b", "failed traces of a", "trace abababab", "Retry r", "events of a",
    ]  # fmt: skip
    assert [tab_of(TabLocation(name)) for name in TABS] == list(TABS)
