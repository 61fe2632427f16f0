"""What stands below the graph: figures of what is selected, its past, its breaker, its policies. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from textual.content import Content

from control_plane.api.seen import Edge, Moment, Node
from control_plane.api.types import RevisionInfo
from tui import words
from tui.attached import Attached, attached
from tui.graph.figures import GOOD, POOR, RANK, said
from tui.graph.figures import state as fares
from tui.graph.versions import service_of
from tui.graph.view import Index
from tui.picture import Picture
from tui.theme import paint, state
from tui.words import Tone

SPARK = 40
"""Cells of a sparkline at most."""

FIGURES = 12
"""Cells for the figures of a call: `⏻ 12/s 39 %`."""

WIDE = 110
"""Cells from which there is room for two of them."""

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Past:
    """The last quarter of an hour of what is selected."""

    step: float = 0.0
    points: tuple[Moment, ...] = ()

    def rates(self) -> list[float]:
        """Requests (for TCP: connections) in a second, oldest first."""
        return [(p.requests or p.connections) / self.step for p in self.points] if self.step else []

    def failures(self) -> list[float]:
        """Failures in a second, oldest first."""
        return [p.failures / self.step for p in self.points] if self.step else []


@dataclass(frozen=True, slots=True)
class Known:
    """What the words are made from. `now` in seconds since the epoch."""

    documents: tuple[Document, ...] = ()
    revisions: tuple[RevisionInfo, ...] = ()
    now: float = 0.0
    past: Past = field(default_factory=Past)

    @classmethod
    def of(cls, picture: Picture, now: float, past: Past) -> Known:
        """From the picture; parts that never came are empty."""
        documents = picture.policies.documents if picture.policies else ()
        return cls(tuple(documents), picture.revisions or (), now, past)


def of_edge(edge: Edge, known: Known, width: int) -> list[Content]:
    """Three lines about calls from one service to another."""
    unit = " conn/s" if edge.protocol == "tcp" else "/s"
    retries = f"retries {words.three(edge.retries_per_s)}/s"
    secured = paint("● mTLS", "good") if edge.mtls else paint("✖ plaintext", "bad")
    figures = [
        (0, paint(f"{words.clean(edge.from_)} → {words.clean(edge.to)}", "strong")),
        (0, Content(f"{words.three(edge.rps)}{unit}")),
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
        _fitting(figures, width),
        Content("  ").join([*_past(known, width), _breaker(edge, known, found, width)]),
        _policies(found, width),
    ]


def _fitting(figures: Sequence[tuple[int, Content]], width: int) -> Content:
    """Figures in a line; where there is no room those of the highest rank are left out."""
    shown = [(rank, text) for rank, text in figures if text.plain]
    while any(rank for rank, _ in shown) and sum(t.cell_length + 3 for _, t in shown) - 3 > width:
        shown.remove(max(shown, key=lambda one: one[0]))
    gap = 3 if sum(t.cell_length + 3 for _, t in shown) - 3 <= width else 2
    return Content(" " * gap).join(text for _, text in shown)


def of_node(node: Node, index: Index, known: Known, width: int) -> list[Content]:
    """Three lines about a service or gateway."""
    health = words.HEALTH[node.health]
    into = [edge for edge in index.edges.values() if edge.to == node.name]
    out = [edge for edge in index.edges.values() if edge.from_ == node.name]
    instances = f"{node.healthy}/{node.instances} healthy"
    if node.role == "gateway" or service_of(node.name) != node.name:
        instances = "gateway" if node.role == "gateway" else f"a version of {service_of(node.name)}"
    rate = sum(edge.rps for edge in into)
    failed = sum(edge.rps * (1 - edge.success) for edge in into)
    figures = [
        Content.assemble(paint(health.sign, health.tone), " ", paint(words.clean(node.name), "strong")),
        state(health),
        paint(instances, "plain" if node.healthy == node.instances else "partial"),
        *([Content(f"{words.three(rate)}/s"), _success(1 - failed / rate, rate)] if rate else []),
    ]
    calls = " · ".join(
        part
        for part in (
            f"called by {_each((edge.from_, edge) for edge in into)}" if into else "",
            f"calls {_each((edge.to, edge) for edge in out)}" if out else "",
        )
        if part
    )
    told = words.clean(calls) or "no calls within the last minute"
    past = _past(known, width)
    used = sum(part.cell_length for part in past) + 2 * len(past)
    return [
        Content("   ").join(figures),
        Content("  ").join([*past, paint(words.fit(told, max(10, width - used)), "dim")]),
        _policies(attached(known.documents, service_of(node.name)), width),
    ]


def _each(calls: Iterable[tuple[str, Edge]]) -> str:
    """The other ends of calls with their figures, what is bad first."""
    worst = sorted(calls, key=lambda call: (-RANK[fares(call[1])], call[0]))
    return ", ".join(f"{name} {said(edge, FIGURES)}" for name, edge in worst)


def edge_policies(documents: Sequence[Document], edge: Edge) -> tuple[Attached, ...]:
    """Policies in force for the calls of an edge: those of the callee that are for this caller."""
    others = {
        (each["kind"], each["metadata"]["name"])
        for each in documents
        if (callers := (each.get("spec") or {}).get("from")) and edge.from_ not in callers
    }
    return tuple(
        one for one in attached(documents, service_of(edge.to)) if (one.kind, one.name) not in others
    )


def changed(policy: Attached, known: Known) -> str:
    """The newest revision that touched a policy, and how long ago that was."""
    for info in known.revisions:
        for change in info.changed:
            if (change.kind, change.name) == (policy.kind, policy.name) and change.action != "unchanged":
                return f"rev {info.revision}, {words.age(known.now - info.time)} ago"
    return ""


def _success(share: float, rps: float) -> Content:
    if not rps:
        return paint("idle", "dim")
    tone: Tone = "good" if share >= GOOD else "bad" if share < POOR else "partial"
    mark = {"good": "", "partial": "◐ ", "bad": "✖ "}[tone]
    return paint(f"{mark}ok {words.share(share)} %", tone)


def _latency(name: str, value: float) -> Content:
    return Content(f"{name} {words.latency(value)} ms" if value > 0 else "")


def _past(known: Known, width: int) -> list[Content]:
    """Bars of the rate and of the failures; where there is little room only of what matters more."""
    rates, failures = known.past.rates(), known.past.failures()
    if len(rates) < 2:
        return [paint("no past yet", "dim")]
    cells = min(SPARK, max(10, width // 8), len(rates))
    rate = Content.assemble(paint("rate ", "dim"), paint(words.spark(rates, cells), "accent"))
    bars = words.spark(failures, cells, max(rates), none=" ")
    failed = Content.assemble(paint("failures ", "dim"), paint(bars, "bad"))
    if not any(failures):
        return [rate]
    return [rate, failed] if width >= WIDE else [failed]


def _breaker(edge: Edge, known: Known, found: Iterable[Attached], width: int) -> Content:
    said = words.BREAKER[edge.breaker]
    made = next((one for one in found if one.kind == "CircuitBreaker"), None)
    if made is None:
        return paint("no breaker" if edge.breaker == "closed" else f"breaker {said.sign} {said.word}", "dim")
    when = changed(made, known)
    ejected = f", {edge.ejected} ejected" if edge.ejected else ""
    kind = f"{made.kind} " if width >= WIDE else ""
    by = f" ({kind}{words.clean(made.name)}{', ' if when else ''}{when})"
    word = f"{said.sign} {said.word}".strip()
    return Content.assemble("breaker ", paint(f"{word}{ejected}", said.tone), paint(by, "dim"))


def _policies(found: Sequence[Attached], width: int) -> Content:
    if not found:
        return paint("no policy: Envoy's defaults hold", "dim")
    shown = [f"{one.kind} {words.clean(one.name)}" for one in found]
    text = f"policies: {' · '.join(shown)}"
    while len(shown) > 1 and len(text) > width:
        shown.pop()
        text = f"policies: {' · '.join(shown)} · {len(found) - len(shown)} more"
    return Content.assemble(paint(words.fit(text, width), "plain"))
