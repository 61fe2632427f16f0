"""The health and figures of an edge as a label, as long as there is room for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from rich.cells import cell_len

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.models.topology import TopologyEdge
from meshwright.tui.format import BREAKER_LABELS, HEALTH_LABELS, Tone

EdgeState = Literal["idle", "unknown", "healthy", "degraded", "unhealthy"]

QUIET_BREAKERS = ("none", "closed")
"""States of a circuit breaker that a label does not mention."""

STATE_RANK: dict[EdgeState, int] = {"idle": 0, "unknown": 0, "healthy": 1, "degraded": 2, "unhealthy": 3}
"""Where two lines cross, the one with the higher rank is drawn."""

SLOW_MS, VERY_SLOW_MS = 500.0, 2000.0
"""Milliseconds of a p99 from which it is coloured; no verdict on health depends on them."""

STATE_TONES: dict[EdgeState, Tone] = {
    "idle": "off",
    "unknown": "off",
    "healthy": "dim",
    "degraded": "partial",
    "unhealthy": "bad",
}


def edge_state(edge: TopologyEdge) -> EdgeState:
    """The control plane's verdict on an edge; `idle` for a healthy one without traffic."""
    return "idle" if edge.health == "healthy" and not edge.rps else edge.health


def edge_symbol(edge: TopologyEdge) -> str:
    """One cell that says what is wrong with an edge; empty when nothing is."""
    if edge.breaker not in QUIET_BREAKERS:
        return BREAKER_LABELS[edge.breaker].symbol
    return HEALTH_LABELS[edge.health].symbol if edge.health in ("degraded", "unhealthy") else ""


def edge_label(edge: TopologyEdge, width: int) -> str:
    """Symbol, requests per second, failure rate and p99, as many of them as fit in `width` cells."""
    return next((text for text in _label_candidates(edge) if cell_len(text) <= width), "")


def _label_candidates(edge: TopologyEdge) -> Iterator[str]:
    """Labels from long to short. What is wrong is kept longest; a bare number is requests per second."""
    symbol, rate = edge_symbol(edge), f"{format_short(edge.rps)}/s"
    breaker = BREAKER_LABELS[edge.breaker].text if edge.breaker not in QUIET_BREAKERS else ""
    if not edge.rps:
        yield from (_join(symbol, breaker, "idle"), _join(symbol, breaker or "idle"), symbol or signs.OFF)
        return
    latency = latency_text(edge.p99_ms)
    failed = failure_text(edge.success)
    protocol = {"grpc": "gRPC", "tcp": "TCP", "http": ""}[edge.protocol]
    yield _join(symbol, breaker, rate, failed, latency)
    yield _join(symbol, protocol, rate, failed, latency)
    yield _join(symbol, rate, failed, latency)
    yield _join(symbol, rate, failed)
    if not symbol:
        yield from (rate, rate.removesuffix("/s"), "<1" if edge.rps < 1 else f"{edge.rps / 1000:.0f}k")
    yield _join(symbol, failed or breaker)
    yield f"{symbol}{failed}"
    yield f"{symbol}{failed}".replace(" ", "")
    yield f"{symbol}{format_short(edge.rps)}"
    yield symbol


def failure_text(success: float) -> str:
    """The failure rate for a success rate (0..1), as every percentage of the graph; empty: none failed."""
    lost = 1 - success
    return f"{max(1, round(lost * 100))} %" if lost >= 0.005 else "<1 %" if lost > 0 else ""


def latency_text(p99_ms: float) -> str:
    """A p99 with its unit; empty: no requests."""
    if p99_ms <= 0:
        return ""
    return f"{format_short(p99_ms)} ms" if p99_ms < 999.5 else f"{format_short(p99_ms / 1000)} s"


def latency_tone(p99_ms: float) -> Tone:
    """The tone of a p99 in ms."""
    return "bad" if p99_ms >= VERY_SLOW_MS else "partial" if p99_ms >= SLOW_MS else "plain"


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def format_short(value: float) -> str:
    """A number in at most three digits: 412, 12, 1.2, 0.3, 1.2k."""
    if value >= 999.5:
        return f"{value / 1000:.1f}k" if value < 9950 else f"{min(value / 1000, 999_999):.0f}k"
    if value >= 9.95:
        return f"{value:.0f}"
    return f"{value:.1f}".removesuffix(".0") if value >= 0.05 else "<0.1" if value > 0 else "0"
