"""Jumps by name, places and their titles, the configuration as a tree, sign-ins of browsers."""

from __future__ import annotations

from typing import Any

from tests.fakes.admin_world import exchange
from tests.fakes.world_parts import config_dump
from tui import config_tree
from tui.picture import Picture
from tui.places import (
    TABS,
    Edge,
    Happenings,
    Place,
    Policy,
    Proxy,
    Revision,
    Service,
    Tab,
    Trace,
    Traces,
    tab_of,
)
from tui.sheets.jump import SHOWN, matching, targets
from tui.web.sessions import LIFE, MOST, Sessions


def jump(text: str) -> list[Any]:
    world = exchange()
    found = list(targets(Picture(status=world.status, topology=world.topology)))
    return [target.place for target in matching(found, text)]


def test_letters_of_a_name_lead_there() -> None:
    assert jump("invent")[0] == Service("inventory")
    assert Proxy("inventory-2") in jump("inv-2")
    assert jump("cbinvlim")[0] == Policy("CircuitBreaker", "inventory-limits")
    assert jump("topo")[0] == Tab("topology")


def test_numbers_are_revisions_and_hexadecimal_digits_traces() -> None:
    assert jump("41")[0] == Revision(41)
    assert jump("3F9A1111")[0] == Trace("3f9a1111")


def test_nothing_matches_nothing_and_no_text_shows_some() -> None:
    assert jump("zzzzqq") == []
    assert len(jump("")) == SHOWN


def test_every_place_has_a_tab_and_a_title() -> None:
    made: list[Place] = [
        Edge("a", "b"),
        Traces("a", errors=True),
        Trace("ab" * 16),
        Policy("Retry", "r"),
        Happenings("a"),
    ]
    assert [tab_of(place) for place in made] == ["topology", "traces", "traces", "policies", "events"]
    assert [place.title for place in made] == [
        "a → b", "failed traces of a", "trace abababab", "Retry r", "events of a",
    ]  # fmt: skip
    assert [tab_of(Tab(name)) for name in TABS] == list(TABS)


def test_a_dump_has_sections_and_its_parts_have_names() -> None:
    dump = dict(config_tree.sections(config_dump(exchange())))
    assert list(dump) == ["clusters", "listeners", "routes"]
    clusters = dict(config_tree.branches(dump["clusters"]["dynamic_active_clusters"]))
    assert "3 inventory" in clusters


def test_what_holds_a_text_is_found_by_keys_names_and_values() -> None:
    dump = dict(config_tree.sections(config_dump(exchange())))
    assert config_tree.matching(dump, "inventory") == (
        ("clusters", "dynamic_active_clusters", "3 inventory"),
    )
    assert all(way[-1] == "track_remaining" for way in config_tree.matching(dump, "TRACK"))
    assert config_tree.matching(dump, "15006")[0][0] == "listeners"
    assert config_tree.matching(dump, "no such text") == ()


def test_a_cookie_counts_until_its_time_is_over() -> None:
    sessions = Sessions()
    sessions.begin("one", 0.0)
    assert sessions.known("one", LIFE - 1)
    assert not sessions.known("one", LIFE)
    assert not sessions.known("", 0.0)


def test_the_eldest_sign_in_goes_when_there_are_too_many() -> None:
    sessions = Sessions()
    for number in range(MOST + 1):
        sessions.begin(f"n{number}", 0.0)
    assert not sessions.known("n0", 1.0)
    assert sessions.known(f"n{MOST}", 1.0)
