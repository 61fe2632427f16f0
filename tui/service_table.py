"""Services as rows of a table: what is bad first, or by any column. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

from control_plane.api.seen import Edge, ServiceRow
from tui import words
from tui.rows import Cell, Column, Lines, Row
from tui.words import Tone

GOOD, POOR = 0.995, 0.95
"""Success shares from which a figure is no trouble, and below which it is failing."""

BADNESS: Mapping[str, int] = {"unhealthy": 0, "degraded": 1, "healthy": 2, "unknown": 3}
OPENNESS: Mapping[str, int] = {"open": 0, "partial": 1, "closed": 2}


class Order(NamedTuple):
    """A way to sort: `title` is the column whose head is lit; `key` sorts the first to the top."""

    name: str
    title: str
    key: Callable[[ServiceRow], Any]


def _trouble(row: ServiceRow) -> tuple[int, int, int, str]:
    """By kind of trouble, not by rates that change: rows keep their place while nothing turns."""
    failing = round((1 - row.success) * 100) if row.rps else 0
    return BADNESS.get(row.health, 3), OPENNESS.get(row.breaker, 2), -failing, row.name


ORDERS: tuple[Order, ...] = (
    Order("trouble", "", _trouble),
    Order("name", "service", lambda row: row.name),
    Order("rate", "rate/s", lambda row: (-row.rps, row.name)),
    Order("success", "ok %", lambda row: (row.success if row.rps else 2, row.name)),
    Order("p50", "p50", lambda row: (-row.p50_ms, row.name)),
    Order("p95", "p95", lambda row: (-row.p95_ms, row.name)),
    Order("p99", "p99 ms", lambda row: (-row.p99_ms, row.name)),
    Order("retries", "retr/s", lambda row: (-row.retries_per_s, row.name)),
    Order("breaker", "breaker", lambda row: (OPENNESS.get(row.breaker, 2), row.name)),
    Order("instances", "inst", lambda row: (row.healthy - row.instances, row.name)),
)

TREND = 20
"""Cells of the sparkline of the last 15 minutes."""

COLUMNS: tuple[Column, ...] = (
    Column("", 1),
    Column("service", 12, grow=True),
    Column("health", 10, rank=9),
    Column("rate/s", 7, right=True),
    Column("ok %", 5, right=True),
    Column("p50", 5, right=True, rank=5),
    Column("p95", 5, right=True, rank=6),
    Column("p99 ms", 6, right=True, rank=1),
    Column("retr/s", 6, right=True, rank=4),
    Column("breaker", 9, rank=2),
    Column("inst", 5, right=True, rank=3),
    Column("mtls", 5, rank=7),
    Column("rate, 15 min", TREND, rank=8),
    Column("failures", TREND, rank=10),
    Column("p99", TREND, rank=11),
)


def ordered(rows: Iterable[ServiceRow], order: Order, *, backwards: bool = False) -> list[ServiceRow]:
    """Rows in an order."""
    return sorted(rows, key=order.key, reverse=backwards)


def marked(order: Order) -> int:
    """The column whose head is lit."""
    titles = [column.title for column in COLUMNS]
    return titles.index(order.title)


def lines(rows: Iterable[ServiceRow]) -> Lines[ServiceRow]:
    """Services as the lines of a table."""
    name = attrgetter("name")
    return Lines(rows, key=name, make=row, texts={1: name})


def row(service: ServiceRow) -> Row:
    """A service as its line."""
    health = words.HEALTH.get(service.health, words.UNKNOWN)
    trend = service.history
    most = max(trend.rps, default=0.0)
    return Row(
        service.name,
        (
            Cell(health.sign, health.tone),
            Cell(service.name, "strong" if health.tone in ("bad", "partial") else "plain"),
            Cell(health.word, health.tone),
            Cell(words.three(service.rps)),
            success(service.success, service.rps),
            Cell(words.latency(service.p50_ms)),
            Cell(words.latency(service.p95_ms)),
            Cell(words.latency(service.p99_ms)),
            retries(service.retries_per_s),
            breaker(service.breaker),
            instances(service),
            mtls(service.mtls, service.rps),
            Cell(words.spark(trend.rps, TREND), "accent"),
            Cell(words.spark(trend.failures_per_s, TREND, most, none=" "), "bad"),
            Cell(words.spark(trend.p99_ms, TREND), "dim"),
        ),
    )


def success(share: float, rps: float) -> Cell:
    """The share of answers that did not fail; none where nothing was answered."""
    if rps <= 0:
        return Cell(words.NOTHING, "dim")
    tone: Tone = "plain" if share >= GOOD else "partial" if share >= POOR else "bad"
    return Cell(words.share(share), tone)


def retries(per_second: float) -> Cell:
    """Retries in a second."""
    return Cell(words.three(per_second), "partial" if per_second > 0 else "dim")


def breaker(state: str) -> Cell:
    """A circuit breaker's state."""
    said = words.BREAKER.get(state, words.UNKNOWN)
    return Cell(f"{said.sign} {said.word}".strip(), "dim" if state == "closed" else said.tone)


def instances(service: ServiceRow) -> Cell:
    """Healthy ones of all; a gateway has none."""
    if service.role == "gateway":
        return Cell("gate", "dim")
    tone: Tone = "plain" if service.healthy == service.instances else "partial" if service.healthy else "bad"
    return Cell(f"{service.healthy}/{service.instances}", tone)


def mtls(proven: bool, rps: float) -> Cell:
    """Whether all calls are under mutual TLS."""
    if rps <= 0:
        return Cell(words.NOTHING, "dim")
    return Cell("● yes", "good") if proven else Cell("✖ no", "bad")


EDGE_COLUMNS: tuple[Column, ...] = (
    Column("", 1),
    Column("calls", 12, grow=True),
    Column("rate/s", 6, right=True),
    Column("ok %", 5, right=True),
    Column("p50", 5, right=True, rank=4),
    Column("p99 ms", 6, right=True, rank=1),
    Column("retr/s", 6, right=True, rank=3),
    Column("breaker", 9, rank=2),
)


def edge_row(edge: Edge, name: str) -> Row:
    """A call from or to a service as a line: the arrow says which way."""
    outward = edge.from_ == name
    other = edge.to if outward else edge.from_
    failing = edge.rps > 0 and edge.success < POOR
    tone: Tone = "bad" if failing else "partial" if edge.rps > 0 and edge.success < GOOD else "plain"
    return Row(
        f"{edge.from_}>{edge.to}",
        (
            Cell("→" if outward else "←", "accent"),
            Cell(other, tone),
            Cell(words.three(edge.rps)),
            success(edge.success, edge.rps),
            Cell(words.latency(edge.p50_ms)),
            Cell(words.latency(edge.p99_ms)),
            retries(edge.retries_per_s),
            breaker(edge.breaker),
        ),
    )
