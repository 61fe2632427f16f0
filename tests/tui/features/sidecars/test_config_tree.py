"""An Envoy's configuration dump as a tree."""

from __future__ import annotations

from meshwright.control_plane.api.resource_metadata import PatchMark, patch_marks
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


def test_a_patched_resource_is_marked_in_every_branch_that_holds_it() -> None:
    metadata = {"filter_metadata": {"meshwright": {"patched_by": ["EnvoyPatch/backlog"]}}}
    kind = "type.googleapis.com/envoy.config.listener.v3.Listener"
    listener = {"@type": kind, "name": "inbound", "metadata": metadata}
    item = {"name": "inbound", "active_state": {"listener": listener}}
    configs = [{"@type": "x.ListenersConfigDump", "dynamic_listeners": [item, {"name": "outbound"}]}]
    labels = [
        config_tree.label(*branch).plain for branch in config_tree.branches([item, {"name": "outbound"}])
    ]
    assert labels == ["0 inbound  2  ▲ patched by EnvoyPatch/backlog", "1 outbound  1"]
    assert config_tree.patch_summary(configs) == "1 patched by EnvoyPatch/backlog"
    assert patch_marks(configs) == (PatchMark("Listener", "inbound", ("EnvoyPatch/backlog",)),)
    assert config_tree.patch_summary([{"clusters": [{"metadata": {"filter_metadata": "odd"}}]}]) == ""
