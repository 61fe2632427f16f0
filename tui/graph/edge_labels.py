"""A link's state and figures in as many words as there is room for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from rich.cells import cell_len

from meshwright.control_plane.api.models.topology import TopologyEdge
from meshwright.tui.format import BREAKER_LABELS, HEALTH_LABELS, Tone

HEALTHY_FROM, UNHEALTHY_BELOW = 0.995, 0.95
"""Success shares from which a link is well, and below which it is failing; as `mesh topology` has them."""

EdgeState = Literal["idle", "well", "degraded", "failing"]

STATE_RANK: dict[EdgeState, int] = {"idle": 0, "well": 1, "degraded": 2, "failing": 3}
"""The higher, the later it is drawn."""

STATE_TONES: dict[EdgeState, Tone] = {"idle": "off", "well": "dim", "degraded": "partial", "failing": "bad"}


def edge_state(edge: TopologyEdge) -> EdgeState:
    """How the calls of an edge fare."""
    if edge.breaker == "open":
        return "failing"
    troubled = edge.breaker == "partial" or edge.ejected > 0
    if not edge.rps:
        return "degraded" if troubled else "idle"
    if edge.success < UNHEALTHY_BELOW:
        return "failing"
    return "degraded" if troubled or edge.success < HEALTHY_FROM else "well"


def edge_symbol(edge: TopologyEdge) -> str:
    """One cell that says what is wrong with an edge; empty where nothing is."""
    if edge.breaker != "closed":
        return BREAKER_LABELS[edge.breaker].symbol
    signs = {"degraded": HEALTH_LABELS["degraded"].symbol, "failing": HEALTH_LABELS["unhealthy"].symbol}
    return signs.get(edge_state(edge), "")


def edge_label(edge: TopologyEdge, room: int) -> str:
    """What fits in `room` cells: sign, rate in a second, share of failures, p99."""
    return next((text for text in _label_candidates(edge) if cell_len(text) <= room), "")


def _label_candidates(edge: TopologyEdge) -> Iterator[str]:
    """From many words to few. What is wrong is said first and longest; a bare figure is calls in a second."""
    mark, rate = edge_symbol(edge), f"{format_short(edge.rps)}/s"
    took = f"{format_short(edge.p99_ms)} ms" if edge.p99_ms > 0 else ""
    lost = 1 - edge.success
    failing = f"{max(1, round(lost * 100))} %" if lost >= 0.005 else "<1 %" if lost > 0 else ""
    if not edge.rps:
        yield from (f"{mark} idle".strip(), mark or "○")
        return
    open_ = BREAKER_LABELS[edge.breaker].text if edge.breaker != "closed" else ""
    kind = {"grpc": "gRPC", "tcp": "TCP", "http": ""}[edge.protocol]
    yield _join(mark, open_, rate, failing, took)
    yield _join(mark, kind, rate, failing, took)
    yield _join(mark, rate, failing, took)
    yield _join(mark, rate, failing)
    if not mark:
        yield from (rate, rate.removesuffix("/s"), "<1" if edge.rps < 1 else f"{edge.rps / 1000:.0f}k")
    yield _join(mark, failing or open_)
    yield f"{mark}{failing}"
    yield f"{mark}{failing}".replace(" ", "")
    yield f"{mark}{format_short(edge.rps)}"
    yield mark


def _join(*words: str) -> str:
    return " ".join(word for word in words if word)


def format_short(value: float) -> str:
    """A figure by at most three digits: 412, 12, 1.2, 0.3, 1.2k."""
    if value >= 999.5:
        return f"{value / 1000:.1f}k" if value < 9950 else f"{min(value / 1000, 999_999):.0f}k"
    if value >= 9.95:
        return f"{value:.0f}"
    return f"{value:.1f}".removesuffix(".0") if value >= 0.05 else "<0.1" if value > 0 else "0"
