"""The panel below the graph: figures, history, breaker and policies of the selection. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from textual.content import Content

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.models.policies import AttachedPolicy
from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.api.models.topology import (
    HealthThresholds,
    HistoryPoint,
    TopologyEdge,
    TopologyNode,
)
from meshwright.tui.format import (
    BREAKER_LABELS,
    HEALTH_LABELS,
    Tone,
    format_age,
    format_failure_percent,
    format_milliseconds,
    format_number,
    sanitize,
    sparkline,
    success_tone,
    truncate,
)
from meshwright.tui.graph.edge_labels import STATE_RANK, edge_label, edge_state
from meshwright.tui.graph.versions import service_of
from meshwright.tui.graph.viewport import TopologyIndex
from meshwright.tui.theme import paint, status_text

SPARKLINE_WIDTH = 40
"""Maximum cells of a sparkline."""

LABEL_WIDTH = 12
"""Cells for the figures of a call: `■ 12/s 39 %`."""

WIDE_WIDTH = 110
"""Cells from which two sparklines fit."""

HEALTH_TONES: dict[str, Tone] = {"degraded": "partial", "unhealthy": "bad"}
"""Tones of a success rate by the edge's health; `good` otherwise."""


@dataclass(frozen=True, slots=True)
class RateHistory:
    """The last 15 minutes of a node or edge; `step`: seconds per point."""

    step: float = 0.0
    points: tuple[HistoryPoint, ...] = ()

    def rates(self) -> list[float]:
        """Requests per second (TCP: connections per second), oldest first."""
        return [(p.requests or p.connections) / self.step for p in self.points] if self.step else []

    def failures(self) -> list[float]:
        """Failures per second, oldest first."""
        return [p.failures / self.step for p in self.points] if self.step else []


@dataclass(frozen=True, slots=True)
class PanelData:
    """What the panel shows besides the topology. `policies`: those in force for the selection; None: not
    fetched yet. `now` in seconds since the epoch.
    """

    policies: tuple[AttachedPolicy, ...] | None = None
    revisions: tuple[RevisionInfo, ...] = ()
    thresholds: HealthThresholds = field(default_factory=HealthThresholds)
    now: float = 0.0
    history: RateHistory = field(default_factory=RateHistory)


def edge_lines(edge: TopologyEdge, data: PanelData, width: int) -> list[Content]:
    """Three lines about the calls from one service to another."""
    unit = " conn/s" if edge.protocol == "tcp" else "/s"
    retries = f"retries {format_number(edge.retries_per_s)}/s"
    security = paint(f"{signs.GOOD} mTLS", "good") if edge.mtls else paint(f"{signs.BAD} plaintext", "bad")
    figures = [
        (0, paint(f"{sanitize(edge.from_)} → {sanitize(edge.to)}", "strong")),
        (0, Content(f"{format_number(edge.rps)}{unit}")),
        (0, _success(edge.success, edge.rps, HEALTH_TONES.get(edge.health, "good"))),
        (2, _latency("p50", edge.p50_ms)),
        (4, _latency("p95", edge.p95_ms)),
        (0, _latency("p99", edge.p99_ms)),
        (1, paint(retries, "partial" if edge.retries_per_s else "dim")),
        (5, paint("gRPC" if edge.protocol == "grpc" else "", "dim")),
        (3 if edge.mtls else 0, security),
    ]
    return [
        _fit_items(figures, width),
        Content("  ").join([*_history_bars(data, width), _breaker(edge, data, width)]),
        _policies(data.policies, width),
    ]


def _fit_items(items: Sequence[tuple[int, Content]], width: int) -> Content:
    """Items on one line. Where they do not fit, those with the highest rank are dropped; rank 0 stays."""
    shown = [(rank, text) for rank, text in items if text.plain]
    while any(rank for rank, _ in shown) and _line_width(shown) > width:
        shown.remove(max(shown, key=lambda item: item[0]))
    gap = 3 if _line_width(shown) <= width else 2
    return Content(" " * gap).join(text for _, text in shown)


def _line_width(items: Sequence[tuple[int, Content]]) -> int:
    return sum(text.cell_length + 3 for _, text in items) - 3


def node_lines(node: TopologyNode, index: TopologyIndex, data: PanelData, width: int) -> list[Content]:
    """Three lines about a service, a version of one, or a gateway."""
    health = HEALTH_LABELS[node.health]
    inbound = [edge for edge in index.edges.values() if edge.to == node.name]
    outbound = [edge for edge in index.edges.values() if edge.from_ == node.name]
    instances = f"{node.healthy}/{node.instances} healthy"
    if node.role != "service" or service_of(node.name) != node.name:
        instances = node.role if node.role != "service" else f"a version of {service_of(node.name)}"
    rate = sum(edge.rps for edge in inbound)
    success = 1 - sum(edge.rps * (1 - edge.success) for edge in inbound) / rate if rate else 1.0
    tone = success_tone(success, data.thresholds)
    figures = [
        Content.assemble(paint(health.symbol, health.tone), " ", paint(sanitize(node.name), "strong")),
        status_text(health),
        paint(instances, "plain" if node.healthy == node.instances else "partial"),
    ]
    if rate:
        figures += [
            Content(f"{format_number(rate)}/s"),
            _success(success, rate, "good" if tone == "plain" else tone),
        ]
    history = _history_bars(data, width)
    used = sum(part.cell_length for part in history) + 2 * len(history)
    calls = sanitize(_calls(inbound, outbound)) or "no requests in the last minute"
    return [
        Content("   ").join(figures),
        Content("  ").join([*history, paint(truncate(calls, max(10, width - used)), "dim")]),
        _policies(data.policies, width),
    ]


def _calls(inbound: Sequence[TopologyEdge], outbound: Sequence[TopologyEdge]) -> str:
    parts = [
        f"called by {_call_list((edge.from_, edge) for edge in inbound)}" if inbound else "",
        f"calls {_call_list((edge.to, edge) for edge in outbound)}" if outbound else "",
    ]
    return " · ".join(part for part in parts if part)


def _call_list(calls: Iterable[tuple[str, TopologyEdge]]) -> str:
    """Neighbours with the figures of their edges, the worst first."""
    ordered = sorted(calls, key=lambda call: (-STATE_RANK[edge_state(call[1])], call[0]))
    return ", ".join(f"{name} {edge_label(edge, LABEL_WIDTH)}" for name, edge in ordered)


def last_change(policy: AttachedPolicy, data: PanelData) -> str:
    """The newest revision that changed a policy, and its age; empty: none of those fetched did."""
    for info in data.revisions:
        for change in info.changed:
            if (change.kind, change.name) == (policy.kind, policy.name) and change.action != "unchanged":
                return f"rev {info.revision}, {format_age(data.now - info.time)} ago"
    return ""


def _success(share: float, rps: float, tone: Tone) -> Content:
    if not rps:
        return paint("idle", "dim")
    mark = {"partial": f"{signs.PARTIAL} ", "bad": f"{signs.BAD} "}.get(tone, "")
    return paint(f"{mark}failed {format_failure_percent(1 - share)} %", tone)


def _latency(name: str, value: float) -> Content:
    return Content(f"{name} {format_milliseconds(value)}" if value > 0 else "")


def _history_bars(data: PanelData, width: int) -> list[Content]:
    """Sparklines of rate and failures; in a narrow terminal only one of them, failures if there are any."""
    rates, failures = data.history.rates(), data.history.failures()
    if len(rates) < 2:
        return [paint("no history yet", "dim")]
    cells = min(SPARKLINE_WIDTH, max(10, width // 8), len(rates))
    rate = Content.assemble(paint("rate ", "dim"), paint(sparkline(rates, cells), "accent"))
    bars = sparkline(failures, cells, max(rates), zero=" ")
    failed = Content.assemble(paint("failures ", "dim"), paint(bars, "bad"))
    if not any(failures):
        return [rate]
    return [rate, failed] if width >= WIDE_WIDTH else [failed]


def _breaker(edge: TopologyEdge, data: PanelData, width: int) -> Content:
    """The state of the circuit breaker, and the policy that configures it."""
    if edge.breaker == "none":
        return paint("no breaker", "dim")
    label = BREAKER_LABELS[edge.breaker]
    text = f"{label.symbol} {label.text}".strip()
    policy = next((policy for policy in data.policies or () if policy.kind == "CircuitBreaker"), None)
    if policy is None:
        return paint(f"breaker {text}", "dim")
    when = last_change(policy, data)
    ejected = f", {edge.ejected} ejected" if edge.ejected else ""
    kind = f"{policy.kind} " if width >= WIDE_WIDTH else ""
    source = f" ({kind}{sanitize(policy.name)}{', ' if when else ''}{when})"
    return Content.assemble("breaker ", paint(f"{text}{ejected}", label.tone), paint(source, "dim"))


def _policies(policies: Sequence[AttachedPolicy] | None, width: int) -> Content:
    if policies is None:
        return Content("")
    if not policies:
        return paint("no policies: Envoy's defaults apply", "dim")
    shown = [f"{policy.kind} {sanitize(policy.name)}" for policy in policies]
    text = f"policies: {' · '.join(shown)}"
    while len(shown) > 1 and len(text) > width:
        shown.pop()
        text = f"policies: {' · '.join(shown)} · {len(policies) - len(shown)} more"
    return Content.assemble(paint(truncate(text, width), "plain"))
