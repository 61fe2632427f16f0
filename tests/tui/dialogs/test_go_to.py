"""Go to a location by part of its name."""

from __future__ import annotations

from meshwright.tui.dialogs.go_to import MATCH_LIMIT, go_to_targets, matching_targets
from meshwright.tui.mesh_state import DashboardState
from meshwright.tui.navigation import (
    Location,
    PolicyLocation,
    ProxyLocation,
    RevisionLocation,
    ServiceLocation,
    TabLocation,
    TraceLocation,
)
from tests.fakes.scenarios import exchange


def matches(text: str) -> list[Location]:
    mesh = exchange()
    targets = list(go_to_targets(DashboardState(status=mesh.status, topology=mesh.topology)))
    return [target.location for target in matching_targets(targets, text)]


def test_letters_of_a_name_match_it() -> None:
    assert matches("invent")[0] == ServiceLocation("inventory")
    assert ProxyLocation("inventory-2", "inventory") in matches("inv-2")
    assert matches("cbinvlim")[0] == PolicyLocation("CircuitBreaker", "inventory-limits")
    assert matches("topo")[0] == TabLocation("topology")


def test_numbers_match_revisions_and_hexadecimal_digits_traces() -> None:
    assert matches("41")[0] == RevisionLocation(41)
    assert matches("3F9A1111")[0] == TraceLocation("3f9a1111")


def test_no_match_is_empty_and_no_text_lists_some() -> None:
    assert matches("zzzzqq") == []
    assert len(matches("")) == MATCH_LIMIT
