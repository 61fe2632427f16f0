"""The panel below the graph."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.models.policies import AttachedPolicy
from meshwright.control_plane.api.models.revisions import DocumentChange, RevisionInfo
from meshwright.control_plane.api.models.topology import HistoryPoint, Topology, TopologyEdge, TopologyNode
from meshwright.tui.features.topology.detail_panel import PanelData, RateHistory, edge_lines, node_lines
from meshwright.tui.graph.viewport import TopologyIndex

NOW = 1000.0


def policy(kind: str, name: str) -> AttachedPolicy:
    return AttachedPolicy(kind=kind, name=name, level="service", target="Service/stock", in_force=True)


def revision(number: int, time: float, kind: str, name: str) -> RevisionInfo:
    change = DocumentChange(kind=kind, name=name, action="changed")
    return RevisionInfo(revision=number, author="bo", time=time, changed=(change,))


POLICIES = (policy("CircuitBreaker", "limits"), policy("FaultInjection", "for-orders"))
REVISIONS = (revision(9, 996, "Timeout", "slow"), revision(7, 880, "CircuitBreaker", "limits"))
EDGE = TopologyEdge(
    from_="orders", to="stock", health="unhealthy", rps=12.44, success=0.39, p50_ms=8, p95_ms=120, p99_ms=502,
    retries_per_s=9.1, breaker="open", ejected=2, mtls=True,
)  # fmt: skip
POINTS = tuple(HistoryPoint(age_s=15 - n, requests=10, failures=n // 10) for n in range(15))
DATA = PanelData(policies=POLICIES, revisions=REVISIONS, now=NOW, history=RateHistory(1.0, POINTS))


def plain(edge: TopologyEdge, width: int, data: PanelData = DATA) -> list[str]:
    return [line.plain for line in edge_lines(edge, data, width)]


def test_an_edge_has_figures_history_breaker_and_the_policies_in_force() -> None:
    figures, history, policies = plain(EDGE, 140)
    assert figures == (
        "orders → stock   12.4/s   × failed 61.0 %   p50 8.00 ms   p95 120 ms   p99 502 ms   "
        "retries 9.10/s   ● mTLS"
    )
    assert history.startswith("rate ▇▇") or history.startswith("rate ██")
    assert "failures " in history
    assert history.endswith("breaker ■ open, 2 ejected (CircuitBreaker limits, rev 7, 2 min ago)")
    assert policies == "policies: CircuitBreaker limits · FaultInjection for-orders"


@pytest.mark.parametrize(("health", "mark"), [("healthy", ""), ("degraded", "▲ "), ("unhealthy", "× ")])
def test_the_mark_of_a_success_rate_is_the_control_planes_verdict(health: str, mark: str) -> None:
    edge = EDGE.model_copy(update={"health": health, "success": 0.97})
    assert f"   {mark}failed 3.00 %" in plain(edge, 140)[0]


@pytest.mark.parametrize("width", [40, 60, 78, 100])
def test_a_narrow_panel_drops_the_least_important_figures(width: int) -> None:
    figures = plain(EDGE, width)[0]
    assert figures.startswith("orders → stock")
    assert "failed 61.0 %" in figures and "p99 502 ms" in figures
    assert "p95" not in figures or "p50" in figures
    assert len(figures) <= max(width, 51)


def test_plaintext_is_shown_in_any_width() -> None:
    assert "× plaintext" in plain(EDGE.model_copy(update={"mtls": False}), 40)[0]


def test_a_tcp_edge_has_connections_and_no_latency() -> None:
    edge = EDGE.model_copy(update={"protocol": "tcp", "p50_ms": 0, "p95_ms": 0, "p99_ms": 0})
    figures = plain(edge, 140)[0]
    assert "12.4 conn/s" in figures and "p99" not in figures


def test_policies_not_fetched_yet_leave_the_line_empty() -> None:
    assert plain(EDGE, 140, PanelData())[2] == ""
    assert plain(EDGE, 140, PanelData(policies=()))[2] == "no policies: Envoy's defaults apply"


def test_a_node_has_health_instances_neighbours_and_policies() -> None:
    nodes = (
        TopologyNode(name="orders", health="degraded", instances=2, healthy=1),
        TopologyNode(name="stock", health="healthy"),
    )
    index = TopologyIndex.from_topology(Topology(nodes=nodes, edges=(EDGE,)))
    data = PanelData(policies=(policy("Timeout", "slow"),))
    first, second, third = (line.plain for line in node_lines(nodes[0], index, data, 100))
    assert first == "▲ orders   ▲ degraded   1/2 healthy"
    assert second == "no history yet  calls stock ■ 12/s 61 %"
    assert third == "policies: Timeout slow"
    assert "12.4/s   × failed 61.0 %" in node_lines(nodes[1], index, DATA, 100)[0].plain
