"""The lines of node cards, and that boxes get them as far as the window has room."""

from __future__ import annotations

from typing import Any

import pytest

from meshwright.control_plane.api.models.topology import ServiceTrend, Topology, TopologyEdge
from meshwright.tui.graph.cards import CardData, card_lines
from meshwright.tui.graph.density import fit_layout
from meshwright.tui.graph.layout import order_graph
from meshwright.tui.graph.scene import CardLine
from meshwright.tui.graph.viewport import TopologyIndex
from tests.fakes.fixture_parts import node
from tests.tui.graph.sample_graphs import DEMO, EXCHANGE, tiered

CALL: dict[str, Any] = {
    "from_": "a", "to": "orders", "rps": 30, "success": 1, "p50_ms": 1, "p95_ms": 2, "p99_ms": 40,
    "mtls": True,
}  # fmt: skip


def call(**changes: object) -> TopologyEdge:
    return TopologyEdge.model_validate(CALL | changes)


def text(line: CardLine) -> str:
    return "".join(part for part, _ in line)


def tones(line: CardLine) -> dict[str, str]:
    return {part.strip(): tone for part, tone in line}


def test_figures_sum_up_the_calls_and_show_the_highest_p99() -> None:
    calls = [call(), call(from_="b", rps=10, success=0.8, health="unhealthy", p99_ms=2100)]
    figures, _, _ = card_lines("orders", calls, CardData(), 22)
    assert text(figures) == "40/s err 5 % 2.1 s"
    assert tones(figures) == {"40/s": "plain", "err 5 %": "bad", "2.1 s": "bad"}


def test_in_a_narrow_card_the_latency_is_in_the_second_line() -> None:
    calls = [call(rps=1240, success=0.61, p99_ms=502, breaker="open")]
    figures, second, _ = card_lines("orders", calls, CardData(), 12)
    assert text(figures) == "1.2k/s 39 %"
    assert text(second) == "502 ms"
    assert text(card_lines("orders", [call()], CardData(), 12)[1]) == "40 ms mTLS"


def test_a_node_without_failures_or_without_requests_says_so() -> None:
    assert text(card_lines("orders", [call()], CardData(), 22)[0]) == "30/s err 0 % 40 ms"
    assert text(card_lines("orders", [call(rps=0)], CardData(), 22)[0]) == "no requests"
    assert text(card_lines("orders", [], CardData(), 22)[0]) == "no requests"


def test_badges_name_protection_and_disturbance() -> None:
    data = CardData(faults=frozenset({"orders"}), weights={"orders": "90:10"})
    _, badges, _ = card_lines("orders", [call(breaker="open")], data, 26)
    assert tones(badges) == {"■ open": "bad", "fault": "partial", "90:10": "accent", "mTLS": "good"}
    _, badges, _ = card_lines("orders", [call(breaker="closed")], CardData(), 22)
    assert tones(badges) == {"mTLS": "good", "breaker": "dim"}
    _, badges, _ = card_lines("orders", [call(), call(from_="b", mtls=False)], CardData(), 22)
    assert tones(badges) == {"plaintext": "bad"}


def test_badges_that_do_not_fit_are_dropped_from_the_end() -> None:
    data = CardData(faults=frozenset({"orders"}), weights={"orders": "25:25:25:25"})
    _, badges, _ = card_lines("orders", [call(breaker="half-open")], data, 22)
    assert text(badges) == "± half-open fault"


def test_the_sparkline_is_as_wide_as_the_card() -> None:
    trends = {"orders": ServiceTrend(step=16, rps=tuple(range(1, 57)))}
    bars = text(card_lines("orders", [call()], CardData(trends), 22)[2])
    assert len(bars) == 22 and bars.startswith("▁") and bars.endswith("▇")
    assert text(card_lines("orders", [call()], CardData(), 22)[2]) == ""


def test_gateways_and_services_that_nobody_calls_sum_up_what_they_send() -> None:
    nodes = tuple(node(name) for name in ("ingress", "orders", "users", "batch"))
    sent, inside, batch = call(from_="ingress"), call(from_="orders", to="users"), call(from_="batch")
    index = TopologyIndex.from_topology(Topology(nodes=nodes, edges=(sent, inside, batch)))
    calls = index.calls_by_node()
    assert calls == {"ingress": [sent], "orders": [sent, batch], "users": [inside], "batch": [batch]}


@pytest.mark.parametrize(
    ("width", "height", "rows"), [(80, 16, 0), (120, 10, 1), (120, 12, 2), (120, 32, 3), (200, 52, 3)]
)
def test_cards_grow_with_the_window(width: int, height: int, rows: int) -> None:
    layout = fit_layout(order_graph(EXCHANGE), width, height)
    assert layout.density.card_rows == rows
    assert layout.width <= width and layout.height <= height
    assert all(box.height >= 3 + rows for box in layout.boxes.values()) or not rows


@pytest.mark.parametrize(("width", "height", "rows"), [(160, 40, 3), (200, 46, 3)])
def test_a_graph_of_many_calls_has_cards_and_short_labels(width: int, height: int, rows: int) -> None:
    layout = fit_layout(order_graph(DEMO), width, height)
    assert layout.density.card_rows == rows
    assert layout.width <= width and layout.height <= height
    assert all(route.label_width >= 5 for route in layout.routes.values())


def test_a_graph_that_does_not_fit_has_no_cards() -> None:
    assert not fit_layout(order_graph(tiered(60, 200)), 160, 40).density.card_rows
