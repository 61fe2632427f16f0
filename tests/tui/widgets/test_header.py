"""The header's third line: where the user is, and the verdict on the mesh."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.models.status import Status, VersionSkew
from meshwright.control_plane.api.models.topology import Topology
from meshwright.control_plane.api.models.verdict import MeshProblem, Verdict
from meshwright.control_plane.api.software_version import VERSION
from meshwright.tui.mesh_state import active_topology
from meshwright.tui.widgets.header import condition_text, location_line, verdict_text
from tests.fakes.fixture_parts import edge, node

FAILING = MeshProblem(
    severity="error", kind="traffic", subject="inventory", message="100 % of 3.2/s fail", cause="Fault slow"
)
TEXT = "× inventory: 100 % of 3.2/s fail: Fault slow"


def status(*problems: MeshProblem) -> Status:
    return Status(revision=1, store="ok", verdict=Verdict(healthy=not problems, problems=problems))


def test_a_healthy_mesh_needs_no_words() -> None:
    assert verdict_text(status()) is None
    assert location_line(("Topology",), None, 40).plain == "─" * 40


@pytest.mark.parametrize("width", [30, 60, 80, 200])
@pytest.mark.parametrize("titles", [("Topology",), ("Services", "inventory")])
def test_the_verdict_is_beside_the_breadcrumbs(width: int, titles: tuple[str, ...]) -> None:
    line = location_line(titles, verdict_text(status(FAILING)), width)
    assert line.cell_length == width
    if width >= 80:
        assert TEXT in line.plain
    if len(titles) > 1 and width >= 60:
        assert "Services › inventory" in line.plain


def test_a_verdict_counts_the_other_problems() -> None:
    warning = FAILING.model_copy(update={"severity": "warning"})
    text = verdict_text(status(warning, warning))
    assert text is not None
    assert text.plain == "▲ inventory: 100 % of 3.2/s fail: Fault slow (and 1 more)"


def test_versions_that_differ_stand_after_what_is_wrong() -> None:
    skew = VersionSkew(supported=True, message="agent of a/a-1: version 0.0.9, the control plane has 0.1.0")
    same = status().model_copy(update={"version": VERSION})
    assert condition_text(same) is None
    text = condition_text(same.model_copy(update={"skews": (skew,)}))
    assert text is not None
    assert text.plain == f"▲ {skew.message}: see `mesh version`"
    both = condition_text(status(FAILING).model_copy(update={"version": VERSION, "skews": (skew,)}))
    assert both is not None
    assert both.plain == f"{TEXT}   ▲ {skew.message}: see `mesh version`"
    apart = condition_text(status().model_copy(update={"version": "9.0.0"}))
    assert apart is not None
    assert apart.plain.startswith(f"× client: version {VERSION}, the control plane has 9.0.0, more than one")


def test_idle_services_are_hidden_unless_somebody_calls_them() -> None:
    nodes = (node("a"), node("gone", "idle"), node("called", "idle"))
    topology = Topology(nodes=nodes, edges=(edge("a", "called", 1),))
    assert [shown.name for shown in active_topology(topology).nodes] == ["a", "called"]
