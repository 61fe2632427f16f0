"""The lines of a node's card: its traffic, what protects or disturbs it, and its recent rate. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.cells import cell_len

from meshwright.control_plane.api.models.topology import EdgeBreaker, ServiceTrend, TopologyEdge
from meshwright.tui.format import BREAKER_LABELS, Tone, sparkline
from meshwright.tui.graph.edge_labels import (
    QUIET_BREAKERS,
    STATE_RANK,
    STATE_TONES,
    edge_state,
    failure_text,
    format_short,
    latency_text,
    latency_tone,
)
from meshwright.tui.graph.scene import CardLine

FAILED = "err "
"""Before the failure rate, where there is room for it."""

BREAKER_ORDER: tuple[EdgeBreaker, ...] = ("none", "closed", "half-open", "partial", "open")
"""The worst last."""


@dataclass(frozen=True, slots=True)
class CardData:
    """What cards show besides the topology.

    `trends` by service. `faults`: services with an injected fault. `weights` by service: the shares that
    routes give to its versions, such as `90:10`.
    """

    trends: Mapping[str, ServiceTrend] = field(default_factory=dict)
    faults: frozenset[str] = frozenset()
    weights: Mapping[str, str] = field(default_factory=dict)


def card_lines(name: str, calls: Sequence[TopologyEdge], data: CardData, width: int) -> tuple[CardLine, ...]:
    """Figures, badges and sparkline of a node in `width` cells; `calls`: the traffic that it sums up.

    Where not all figures fit in the first line, the latency is in the second one, before the badges.
    """
    traffic, latency = _traffic(calls), _latency(calls)
    badges = _badges(name, calls, data)
    first, second = (*traffic, *latency), badges
    if _width(first) > width:
        first = tuple((text.removeprefix(FAILED), tone) for text, tone in traffic)
        second = (*latency, *badges)
    trend = data.trends.get(name)
    bars = sparkline(trend.rps, width) if trend and any(trend.rps) else ""
    return _spaced(first), _spaced(_fitting(second, width)), ((bars, "accent"),)


def _traffic(calls: Sequence[TopologyEdge]) -> CardLine:
    """Requests per second, and failures."""
    rate = sum(edge.rps for edge in calls)
    if not rate:
        return (("no requests", "off"),)
    success = sum(edge.rps * edge.success for edge in calls) / rate
    worst = max((edge_state(edge) for edge in calls), key=STATE_RANK.__getitem__)
    unit = " conn/s" if all(edge.protocol == "tcp" for edge in calls) else "/s"
    failed = f"{FAILED}{failure_text(success) or '0 %'}"
    return ((f"{format_short(rate)}{unit}", "plain"), (failed, STATE_TONES[worst] if success < 1 else "dim"))


def _latency(calls: Sequence[TopologyEdge]) -> CardLine:
    """The highest p99 of the calls: percentiles cannot be added up."""
    p99_ms = max((edge.p99_ms for edge in calls if edge.rps), default=0.0)
    return ((latency_text(p99_ms), latency_tone(p99_ms)),) if p99_ms > 0 else ()


def _badges(name: str, calls: Sequence[TopologyEdge], data: CardData) -> CardLine:
    """Badges, what is wrong first."""
    breaker = max((edge.breaker for edge in calls), key=BREAKER_ORDER.index, default="none")
    label = BREAKER_LABELS[breaker]
    badges: list[tuple[str, Tone]] = []
    if breaker not in QUIET_BREAKERS:
        badges.append((f"{label.symbol} {label.text}", label.tone))
    if any(not edge.mtls for edge in calls):
        badges.append(("plaintext", "bad"))
    if name in data.faults:
        badges.append(("fault", "partial"))
    if name in data.weights:
        badges.append((data.weights[name], "accent"))
    if calls and all(edge.mtls for edge in calls):
        badges.append(("mTLS", "good"))
    if breaker == "closed":
        badges.append(("breaker", "dim"))
    return tuple(badges)


def _fitting(parts: CardLine, width: int) -> CardLine:
    """The first parts, as many as fit."""
    while _width(parts) > width:
        parts = parts[:-1]
    return parts


def _width(parts: CardLine) -> int:
    return sum(cell_len(text) + 1 for text, _ in parts) - 1


def _spaced(parts: CardLine) -> CardLine:
    return tuple((f" {text}" if n else text, tone) for n, (text, tone) in enumerate(parts))
