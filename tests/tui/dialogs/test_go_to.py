"""Jumps by name, places and their titles, the configuration as a tree, sign-ins of browsers."""

from __future__ import annotations

from typing import Any

from meshwright.tui.dialogs.go_to import MATCH_LIMIT, go_to_targets, matching_targets
from meshwright.tui.features.sidecars import config_tree
from meshwright.tui.mesh_state import DashboardState
from meshwright.tui.navigation import (
    TABS,
    EdgeLocation,
    EventsLocation,
    Location,
    PolicyLocation,
    ProxyLocation,
    RevisionLocation,
    ServiceLocation,
    TabLocation,
    TraceLocation,
    TracesLocation,
    tab_of,
)
from meshwright.tui.web.sessions import MAX_SESSIONS, SESSION_SECONDS, BrowserSessions
from tests.fakes.fixture_parts import config_dump
from tests.fakes.scenarios import exchange


def jump(text: str) -> list[Any]:
    world = exchange()
    found = list(go_to_targets(DashboardState(status=world.status, topology=world.topology)))
    return [target.location for target in matching_targets(found, text)]


def test_letters_of_a_name_lead_there() -> None:
    assert jump("invent")[0] == ServiceLocation("inventory")
    assert ProxyLocation("inventory-2") in jump("inv-2")
    assert jump("cbinvlim")[0] == PolicyLocation("CircuitBreaker", "inventory-limits")
    assert jump("topo")[0] == TabLocation("topology")


def test_numbers_are_revisions_and_hexadecimal_digits_traces() -> None:
    assert jump("41")[0] == RevisionLocation(41)
    assert jump("3F9A1111")[0] == TraceLocation("3f9a1111")


def test_nothing_matches_nothing_and_no_text_shows_some() -> None:
    assert jump("zzzzqq") == []
    assert len(jump("")) == MATCH_LIMIT


def test_every_place_has_a_tab_and_a_title() -> None:
    made: list[Location] = [
        EdgeLocation("a", "b"),
        TracesLocation("a", errors=True),
        TraceLocation("ab" * 16),
        PolicyLocation("Retry", "r"),
        EventsLocation("a"),
    ]
    assert [tab_of(place) for place in made] == ["topology", "traces", "traces", "policies", "events"]
    assert [place.title for place in made] == [
        "a → b", "failed traces of a", "trace abababab", "Retry r", "events of a",
    ]  # fmt: skip
    assert [tab_of(TabLocation(name)) for name in TABS] == list(TABS)


def test_a_dump_has_sections_and_its_parts_have_names() -> None:
    dump = dict(config_tree.sections(config_dump(exchange())))
    assert list(dump) == ["clusters", "listeners", "routes"]
    clusters = dict(config_tree.branches(dump["clusters"]["dynamic_active_clusters"]))
    assert "3 inventory" in clusters


def test_what_holds_a_text_is_found_by_keys_names_and_values() -> None:
    dump = dict(config_tree.sections(config_dump(exchange())))
    assert config_tree.matching_paths(dump, "inventory") == (
        ("clusters", "dynamic_active_clusters", "3 inventory"),
    )
    assert all(way[-1] == "track_remaining" for way in config_tree.matching_paths(dump, "TRACK"))
    assert config_tree.matching_paths(dump, "15006")[0][0] == "listeners"
    assert config_tree.matching_paths(dump, "no such text") == ()


def test_a_cookie_counts_until_its_time_is_over() -> None:
    sessions = BrowserSessions()
    sessions.start("one", 0.0)
    assert sessions.is_valid("one", SESSION_SECONDS - 1)
    assert not sessions.is_valid("one", SESSION_SECONDS)
    assert not sessions.is_valid("", 0.0)


def test_the_eldest_sign_in_goes_when_there_are_too_many() -> None:
    sessions = BrowserSessions()
    for number in range(MAX_SESSIONS + 1):
        sessions.start(f"n{number}", 0.0)
    assert not sessions.is_valid("n0", 1.0)
    assert sessions.is_valid(f"n{MAX_SESSIONS}", 1.0)
