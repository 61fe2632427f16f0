"""What stands below the graph: figures of what is selected, its past, its breaker, its policies. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from textual.content import Content

from meshwright.control_plane.api.models.base import RevisionInfo
from meshwright.control_plane.api.models.topology import HistoryPoint, TopologyEdge, TopologyNode
from meshwright.tui import format
from meshwright.tui.features.policies.effective_policies import EffectivePolicyRef, effective_policies
from meshwright.tui.format import Tone
from meshwright.tui.graph.edge_labels import HEALTHY_FROM, STATE_RANK, UNHEALTHY_BELOW, edge_label
from meshwright.tui.graph.edge_labels import edge_state as fares
from meshwright.tui.graph.versions import service_of
from meshwright.tui.graph.viewport import TopologyIndex
from meshwright.tui.mesh_state import DashboardState
from meshwright.tui.theme import paint, status_text

SPARKLINE_WIDTH = 40
"""Cells of a sparkline at most."""

LABEL_WIDTH = 12
"""Cells for the figures of a call: `⏻ 12/s 39 %`."""

WIDE_WIDTH = 110
"""Cells from which there is room for two of them."""

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RateHistory:
    """The last quarter of an hour of what is selected."""

    step: float = 0.0
    points: tuple[HistoryPoint, ...] = ()

    def rates(self) -> list[float]:
        """Requests (for TCP: connections) in a second, oldest first."""
        return [(p.requests or p.connections) / self.step for p in self.points] if self.step else []

    def failures(self) -> list[float]:
        """Failures in a second, oldest first."""
        return [p.failures / self.step for p in self.points] if self.step else []


@dataclass(frozen=True, slots=True)
class PanelData:
    """What the words are made from. `now` in seconds since the epoch."""

    documents: tuple[Document, ...] = ()
    revisions: tuple[RevisionInfo, ...] = ()
    now: float = 0.0
    history: RateHistory = field(default_factory=RateHistory)

    @classmethod
    def from_state(cls, picture: DashboardState, now: float, past: RateHistory) -> PanelData:
        """From the picture; parts that never came are empty."""
        documents = picture.policies.documents if picture.policies else ()
        return cls(tuple(documents), picture.revisions or (), now, past)


def edge_lines(edge: TopologyEdge, known: PanelData, width: int) -> list[Content]:
    """Three lines about calls from one service to another."""
    unit = " conn/s" if edge.protocol == "tcp" else "/s"
    retries = f"retries {format.format_number(edge.retries_per_s)}/s"
    secured = paint("● mTLS", "good") if edge.mtls else paint("✖ plaintext", "bad")
    figures = [
        (0, paint(f"{format.sanitize(edge.from_)} → {format.sanitize(edge.to)}", "strong")),
        (0, Content(f"{format.format_number(edge.rps)}{unit}")),
        (0, _success(edge.success, edge.rps)),
        (2, _latency("p50", edge.p50_ms)),
        (4, _latency("p95", edge.p95_ms)),
        (0, _latency("p99", edge.p99_ms)),
        (1, paint(retries, "partial" if edge.retries_per_s else "dim")),
        (5, paint("gRPC" if edge.protocol == "grpc" else "", "dim")),
        (3 if edge.mtls else 0, secured),
    ]
    found = edge_policies(known.documents, edge)
    return [
        _fit_items(figures, width),
        Content("  ").join([*_history_bars(known, width), _breaker(edge, known, found, width)]),
        _policies(found, width),
    ]


def _fit_items(figures: Sequence[tuple[int, Content]], width: int) -> Content:
    """Figures in a line; where there is no room those of the highest rank are left out."""
    shown = [(rank, text) for rank, text in figures if text.plain]
    while any(rank for rank, _ in shown) and sum(t.cell_length + 3 for _, t in shown) - 3 > width:
        shown.remove(max(shown, key=lambda one: one[0]))
    gap = 3 if sum(t.cell_length + 3 for _, t in shown) - 3 <= width else 2
    return Content(" " * gap).join(text for _, text in shown)


def node_lines(node: TopologyNode, index: TopologyIndex, known: PanelData, width: int) -> list[Content]:
    """Three lines about a service or gateway."""
    health = format.HEALTH_LABELS[node.health]
    into = [edge for edge in index.edges.values() if edge.to == node.name]
    out = [edge for edge in index.edges.values() if edge.from_ == node.name]
    instances = f"{node.healthy}/{node.instances} healthy"
    if node.role == "gateway" or service_of(node.name) != node.name:
        instances = "gateway" if node.role == "gateway" else f"a version of {service_of(node.name)}"
    rate = sum(edge.rps for edge in into)
    failed = sum(edge.rps * (1 - edge.success) for edge in into)
    figures = [
        Content.assemble(paint(health.symbol, health.tone), " ", paint(format.sanitize(node.name), "strong")),
        status_text(health),
        paint(instances, "plain" if node.healthy == node.instances else "partial"),
        *([Content(f"{format.format_number(rate)}/s"), _success(1 - failed / rate, rate)] if rate else []),
    ]
    calls = " · ".join(
        part
        for part in (
            f"called by {_call_list((edge.from_, edge) for edge in into)}" if into else "",
            f"calls {_call_list((edge.to, edge) for edge in out)}" if out else "",
        )
        if part
    )
    told = format.sanitize(calls) or "no calls within the last minute"
    past = _history_bars(known, width)
    used = sum(part.cell_length for part in past) + 2 * len(past)
    return [
        Content("   ").join(figures),
        Content("  ").join([*past, paint(format.truncate(told, max(10, width - used)), "dim")]),
        _policies(effective_policies(known.documents, service_of(node.name)), width),
    ]


def _call_list(calls: Iterable[tuple[str, TopologyEdge]]) -> str:
    """The other ends of calls with their figures, what is bad first."""
    worst = sorted(calls, key=lambda call: (-STATE_RANK[fares(call[1])], call[0]))
    return ", ".join(f"{name} {edge_label(edge, LABEL_WIDTH)}" for name, edge in worst)


def edge_policies(documents: Sequence[Document], edge: TopologyEdge) -> tuple[EffectivePolicyRef, ...]:
    """Policies in force for the calls of an edge: those of the callee that are for this caller."""
    others = {
        (each["kind"], each["metadata"]["name"])
        for each in documents
        if (callers := (each.get("spec") or {}).get("from")) and edge.from_ not in callers
    }
    return tuple(
        one
        for one in effective_policies(documents, service_of(edge.to))
        if (one.kind, one.name) not in others
    )


def last_change(policy: EffectivePolicyRef, known: PanelData) -> str:
    """The newest revision that touched a policy, and how long ago that was."""
    for info in known.revisions:
        for change in info.changed:
            if (change.kind, change.name) == (policy.kind, policy.name) and change.action != "unchanged":
                return f"rev {info.revision}, {format.format_age(known.now - info.time)} ago"
    return ""


def _success(share: float, rps: float) -> Content:
    if not rps:
        return paint("idle", "dim")
    tone: Tone = "good" if share >= HEALTHY_FROM else "bad" if share < UNHEALTHY_BELOW else "partial"
    mark = {"good": "", "partial": "◐ ", "bad": "✖ "}[tone]
    return paint(f"{mark}ok {format.format_percent(share)} %", tone)


def _latency(name: str, value: float) -> Content:
    return Content(f"{name} {format.format_latency(value)} ms" if value > 0 else "")


def _history_bars(known: PanelData, width: int) -> list[Content]:
    """Bars of the rate and of the failures; where there is little room only of what matters more."""
    rates, failures = known.history.rates(), known.history.failures()
    if len(rates) < 2:
        return [paint("no past yet", "dim")]
    cells = min(SPARKLINE_WIDTH, max(10, width // 8), len(rates))
    rate = Content.assemble(paint("rate ", "dim"), paint(format.sparkline(rates, cells), "accent"))
    bars = format.sparkline(failures, cells, max(rates), zero=" ")
    failed = Content.assemble(paint("failures ", "dim"), paint(bars, "bad"))
    if not any(failures):
        return [rate]
    return [rate, failed] if width >= WIDE_WIDTH else [failed]


def _breaker(
    edge: TopologyEdge, known: PanelData, found: Iterable[EffectivePolicyRef], width: int
) -> Content:
    said = format.BREAKER_LABELS[edge.breaker]
    made = next((one for one in found if one.kind == "CircuitBreaker"), None)
    if made is None:
        return paint(
            "no breaker" if edge.breaker == "closed" else f"breaker {said.symbol} {said.text}", "dim"
        )
    when = last_change(made, known)
    ejected = f", {edge.ejected} ejected" if edge.ejected else ""
    kind = f"{made.kind} " if width >= WIDE_WIDTH else ""
    by = f" ({kind}{format.sanitize(made.name)}{', ' if when else ''}{when})"
    word = f"{said.symbol} {said.text}".strip()
    return Content.assemble("breaker ", paint(f"{word}{ejected}", said.tone), paint(by, "dim"))


def _policies(found: Sequence[EffectivePolicyRef], width: int) -> Content:
    if not found:
        return paint("no policy: Envoy's defaults hold", "dim")
    shown = [f"{one.kind} {format.sanitize(one.name)}" for one in found]
    text = f"policies: {' · '.join(shown)}"
    while len(shown) > 1 and len(text) > width:
        shown.pop()
        text = f"policies: {' · '.join(shown)} · {len(found) - len(shown)} more"
    return Content.assemble(paint(format.truncate(text, width), "plain"))
