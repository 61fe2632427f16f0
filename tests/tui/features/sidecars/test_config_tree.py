"""An Envoy's configuration dump as a tree."""

from __future__ import annotations

from meshwright.tui.features.sidecars import config_tree
from tests.fakes.fixture_parts import config_dump
from tests.fakes.scenarios import exchange


def test_a_dump_has_sections_and_named_items() -> None:
    dump = dict(config_tree.sections(config_dump(exchange())))
    assert list(dump) == ["clusters", "listeners", "routes"]
    clusters = dict(config_tree.branches(dump["clusters"]["dynamic_active_clusters"]))
    assert "3 inventory" in clusters


def test_matching_paths_search_keys_names_and_values() -> None:
    dump = dict(config_tree.sections(config_dump(exchange())))
    assert config_tree.matching_paths(dump, "inventory") == (
        ("clusters", "dynamic_active_clusters", "3 inventory"),
    )
    assert all(path[-1] == "track_remaining" for path in config_tree.matching_paths(dump, "TRACK"))
    assert config_tree.matching_paths(dump, "15006")[0][0] == "listeners"
    assert config_tree.matching_paths(dump, "no such text") == ()
