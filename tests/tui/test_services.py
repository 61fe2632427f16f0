"""Services in order of trouble, their policies, their past; what the head says of the whole mesh."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.models.base import Condition, PolicyStatus, RevisionInfo
from meshwright.control_plane.api.models.topology import ServiceTrend, Topology
from meshwright.tui.features.policies.effective_policies import effective_policies, policy_state
from meshwright.tui.features.services import table, trend
from meshwright.tui.mesh_state import mesh_totals
from tests.fakes.fixture_parts import edge, node
from tests.fakes.mesh_fixture import NOW
from tests.fakes.scenarios import exchange


def names(order: str) -> list[str]:
    chosen = next(each for each in table.SORT_ORDERS if each.name == order)
    return [row.name for row in table.sort_services(exchange().services.services, chosen)]


def test_what_is_bad_comes_first() -> None:
    assert names("trouble")[:2] == ["inventory", "orders"]
    assert names("trouble")[-1] == "warehouse"


def test_by_rate_and_by_success() -> None:
    assert names("rate")[0] == "ingress"
    assert names("success")[0] == "inventory"
    assert names("success")[-1] == "warehouse"  # nothing was answered, so nothing failed


def test_the_columns_that_sort_exist() -> None:
    assert all(table.sort_column(order) >= 0 for order in table.SORT_ORDERS)


def test_policies_in_force_are_its_own_its_routes_and_the_meshs() -> None:
    found = effective_policies(exchange().documents, "inventory")
    assert found[0][:2] == ("CircuitBreaker", "inventory-limits")
    assert ("HTTPRoute", "inventory", "route") in found
    assert ("Retry", "mesh", "mesh") in found
    assert not [one for one in found if one.name in ("orders", "trading")]


@pytest.mark.parametrize(
    ("conditions", "word"),
    [
        ((("Accepted", "True"), ("Programmed", "True")), "programmed"),
        ((("Accepted", "True"), ("Programmed", "False")), "pending"),
        ((("Accepted", "True"), ("Conflicted", "True"), ("Programmed", "True")), "conflicted"),
        ((("Accepted", "False"),), "not accepted"),
        ((("Accepted", "True"), ("Programmed", "False"), ("Rejected", "True")), "rejected"),
        ((), "unknown"),
    ],
)
def test_the_worst_condition_is_told(conditions: tuple[tuple[str, str], ...], word: str) -> None:
    made = tuple(Condition(type=kind, status=status, reason="X") for kind, status in conditions)
    assert policy_state(PolicyStatus(kind="Retry", name="r", conditions=made))[0].text == word


def test_the_whole_is_what_gateways_send_in() -> None:
    nodes = (node("ingress"), node("a"), node("b"))
    edges = (
        edge("ingress", "a", 30, 0.9, 40),
        edge("ingress", "b", 10, 1.0, 90),
        edge("a", "b", 500, 0, 999),
    )
    seen = mesh_totals(Topology(nodes=nodes, edges=edges))
    assert (seen.rps, seen.p99_ms) == (40, 90)
    assert seen.errors == pytest.approx(3 / 40)


def test_without_a_gateway_the_whole_is_what_callers_send_whom_nobody_calls() -> None:
    seen = mesh_totals(
        Topology(nodes=(node("a"), node("b"), node("c")), edges=(edge("a", "b", 5), edge("b", "c", 50)))
    )
    assert seen.rps == 5
    assert mesh_totals(Topology()).rps == 0


def test_a_revision_is_marked_where_it_was_applied() -> None:
    made = [
        RevisionInfo(revision=41, author="", time=NOW - 450),
        RevisionInfo(revision=9, author="", time=NOW - 9000),
    ]
    axis = trend.trend_lines(ServiceTrend(step=16.0, rps=(1.0,)), made, NOW, 124)[-1].plain
    assert "▲41" in axis
    assert "▲9" not in axis
    assert axis.index("▲") == pytest.approx(trend.LABEL + 49, abs=1)


def test_a_past_without_data_is_drawn() -> None:
    lines = trend.trend_lines(ServiceTrend(step=16.0), (), NOW, 80)
    assert [line.plain.split()[0] for line in lines] == ["rate", "failures", "p99", "-15"]
