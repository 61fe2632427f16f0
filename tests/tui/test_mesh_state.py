"""The totals of the mesh that the header shows."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.models.topology import Topology
from meshwright.tui.mesh_state import mesh_totals
from tests.fakes.fixture_parts import edge, node


def test_totals_are_those_of_the_gateways_calls() -> None:
    nodes = (node("ingress"), node("a"), node("b"))
    edges = (
        edge("ingress", "a", 30, 0.9, 40),
        edge("ingress", "b", 10, 1.0, 90),
        edge("a", "b", 500, 0, 999),
    )
    totals = mesh_totals(Topology(nodes=nodes, edges=edges))
    assert (totals.rps, totals.p99_ms) == (40, 90)
    assert totals.errors == pytest.approx(3 / 40)


def test_an_idle_gateway_has_no_traffic_whatever_services_call_each_other() -> None:
    nodes = (node("ingress"), node("a"), node("b"))
    assert mesh_totals(Topology(nodes=nodes, edges=(edge("a", "b", 5),))).rps == 0


def test_without_a_gateway_totals_are_those_of_services_nobody_calls() -> None:
    nodes = (node("a"), node("b"), node("c"))
    totals = mesh_totals(Topology(nodes=nodes, edges=(edge("a", "b", 5), edge("b", "c", 50))))
    assert totals.rps == 5
    assert mesh_totals(Topology()).rps == 0
