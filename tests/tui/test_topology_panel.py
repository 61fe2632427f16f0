"""What stands below the graph."""

from __future__ import annotations

from typing import Any

import pytest

from meshwright.control_plane.api.models.base import DocumentChange, RevisionInfo
from meshwright.control_plane.api.models.topology import HistoryPoint, Topology, TopologyEdge, TopologyNode
from meshwright.tui.features.topology.detail_panel import (
    PanelData,
    RateHistory,
    edge_lines,
    edge_policies,
    node_lines,
)
from meshwright.tui.graph.viewport import TopologyIndex

NOW = 1000.0


def policy(kind: str, name: str, target: str, **spec: Any) -> dict[str, Any]:
    refs = [{"kind": "Service", "name": target}]
    return {"kind": kind, "metadata": {"name": name}, "spec": {"targetRefs": refs, **spec}}


def revision(number: int, time: float, kind: str, name: str) -> RevisionInfo:
    change = DocumentChange(kind=kind, name=name, action="changed")
    return RevisionInfo(revision=number, author="bo", time=time, changed=(change,))


DOCUMENTS = (
    policy("CircuitBreaker", "limits", "stock"),
    policy("Timeout", "slow", "orders"),
    policy("FaultInjection", "for-orders", "stock", **{"from": ["orders"]}),
    policy("FaultInjection", "for-shop", "stock", **{"from": ["shop"]}),
)
REVISIONS = (revision(9, 996, "Timeout", "slow"), revision(7, 880, "CircuitBreaker", "limits"))
EDGE = TopologyEdge(
    from_="orders", to="stock", rps=12.44, success=0.61, p50_ms=8, p95_ms=120, p99_ms=502,
    retries_per_s=9.1, breaker="open", ejected=2, mtls=True,
)  # fmt: skip
POINTS = tuple(HistoryPoint(age_s=15 - n, requests=10, failures=n // 10) for n in range(15))
KNOWN = PanelData(DOCUMENTS, REVISIONS, NOW, RateHistory(1.0, POINTS))


def said(edge: TopologyEdge, width: int, known: PanelData = KNOWN) -> list[str]:
    return [line.plain for line in edge_lines(edge, known, width)]


def test_an_edge_is_told_with_its_breaker_and_the_policy_that_made_it() -> None:
    figures, past, policies = said(EDGE, 140)
    assert figures == (
        "orders → stock   12.4/s   ✖ ok 61.0 %   p50 8.00 ms   p95 120 ms   p99 502 ms   "
        "retries 9.10/s   ● mTLS"
    )
    assert past.startswith("rate ▇▇") or past.startswith("rate ██")
    assert "failures " in past
    assert past.endswith("breaker ⏻ open, 2 ejected (CircuitBreaker limits, rev 7, 2 min ago)")
    assert policies == "policies: CircuitBreaker limits · FaultInjection for-orders"


@pytest.mark.parametrize("width", [40, 60, 78, 100])
def test_where_there_is_little_room_the_least_figures_go_first(width: int) -> None:
    figures = said(EDGE, width)[0]
    assert figures.startswith("orders → stock")
    assert "ok 61.0 %" in figures and "p99 502 ms" in figures
    assert "p95" not in figures or "p50" in figures
    assert len(figures) <= max(width, 51)


def test_what_is_not_safe_is_said_whatever_the_room() -> None:
    assert "✖ plaintext" in said(EDGE.model_copy(update={"mtls": False}), 40)[0]


def test_tcp_counts_connections_and_has_no_latency() -> None:
    edge = EDGE.model_copy(update={"protocol": "tcp", "p50_ms": 0, "p95_ms": 0, "p99_ms": 0})
    figures = said(edge, 140)[0]
    assert "12.4 conn/s" in figures and "p99" not in figures


def test_policies_for_other_callers_are_not_in_force() -> None:
    names = [one.name for one in edge_policies(DOCUMENTS, EDGE)]
    assert names == ["limits", "for-orders"]


def test_a_service_is_told_with_its_neighbours() -> None:
    nodes = (
        TopologyNode(name="orders", health="degraded", instances=2, healthy=1),
        TopologyNode(name="stock", health="healthy"),
    )
    index = TopologyIndex.from_topology(Topology(nodes=nodes, edges=(EDGE,)))
    first, second, third = (line.plain for line in node_lines(nodes[0], index, PanelData(DOCUMENTS), 100))
    assert first == "◐ orders   ◐ degraded   1/2 healthy"
    assert second == "no past yet  calls stock ⏻ 12/s 39 %"
    assert third == "policies: Timeout slow"
    assert "12.4/s   ✖ ok 61.0 %" in of_node(nodes[1], index, KNOWN, 100)[0].plain
