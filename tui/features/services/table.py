"""Services as rows of a table: what is bad first, or by any column. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

from meshwright.control_plane.api.models.topology import ServiceSummary, TopologyEdge
from meshwright.tui import format
from meshwright.tui.format import Tone
from meshwright.tui.widgets.table_model import LazyRows, TableCell, TableColumn, TableRow

GOOD, POOR = 0.995, 0.95
"""Success shares from which a figure is no trouble, and below which it is failing."""

HEALTH_RANK: Mapping[str, int] = {"unhealthy": 0, "degraded": 1, "healthy": 2, "unknown": 3}
BREAKER_RANK: Mapping[str, int] = {"open": 0, "partial": 1, "closed": 2}


class SortOrder(NamedTuple):
    """A way to sort: `title` is the column whose head is lit; `key` sorts the first to the top."""

    name: str
    title: str
    key: Callable[[ServiceSummary], Any]


def _severity_key(row: ServiceSummary) -> tuple[int, int, int, str]:
    """By kind of trouble, not by rates that change: rows keep their place while nothing turns."""
    failing = round((1 - row.success) * 100) if row.rps else 0
    return HEALTH_RANK.get(row.health, 3), BREAKER_RANK.get(row.breaker, 2), -failing, row.name


SORT_ORDERS: tuple[SortOrder, ...] = (
    SortOrder("trouble", "", _severity_key),
    SortOrder("name", "service", lambda row: row.name),
    SortOrder("rate", "rate/s", lambda row: (-row.rps, row.name)),
    SortOrder("success", "ok %", lambda row: (row.success if row.rps else 2, row.name)),
    SortOrder("p50", "p50", lambda row: (-row.p50_ms, row.name)),
    SortOrder("p95", "p95", lambda row: (-row.p95_ms, row.name)),
    SortOrder("p99", "p99 ms", lambda row: (-row.p99_ms, row.name)),
    SortOrder("retries", "retr/s", lambda row: (-row.retries_per_s, row.name)),
    SortOrder("breaker", "breaker", lambda row: (BREAKER_RANK.get(row.breaker, 2), row.name)),
    SortOrder("instances", "inst", lambda row: (row.healthy - row.instances, row.name)),
)

TREND_WIDTH = 20
"""Cells of the sparkline of the last 15 minutes."""

COLUMNS: tuple[TableColumn, ...] = (
    TableColumn("", 1),
    TableColumn("service", 12, grow=True),
    TableColumn("health", 10, drop_rank=9),
    TableColumn("rate/s", 7, right=True),
    TableColumn("ok %", 5, right=True),
    TableColumn("p50", 5, right=True, drop_rank=5),
    TableColumn("p95", 5, right=True, drop_rank=6),
    TableColumn("p99 ms", 6, right=True, drop_rank=1),
    TableColumn("retr/s", 6, right=True, drop_rank=4),
    TableColumn("breaker", 9, drop_rank=2),
    TableColumn("inst", 5, right=True, drop_rank=3),
    TableColumn("mtls", 5, drop_rank=7),
    TableColumn("rate, 15 min", TREND_WIDTH, drop_rank=8),
    TableColumn("failures", TREND_WIDTH, drop_rank=10),
    TableColumn("p99", TREND_WIDTH, drop_rank=11),
)


def sort_services(
    rows: Iterable[ServiceSummary], order: SortOrder, *, reverse: bool = False
) -> list[ServiceSummary]:
    """Rows in an order."""
    return sorted(rows, key=order.key, reverse=reverse)


def sort_column(order: SortOrder) -> int:
    """The column whose head is lit."""
    titles = [column.title for column in COLUMNS]
    return titles.index(order.title)


def build_rows(rows: Iterable[ServiceSummary]) -> LazyRows[ServiceSummary]:
    """Services as the lines of a table."""
    name = attrgetter("name")
    return LazyRows(rows, key=name, make=service_row, texts={1: name})


def service_row(service: ServiceSummary) -> TableRow:
    """A service as its line."""
    health = format.HEALTH_LABELS.get(service.health, format.UNKNOWN_LABEL)
    trend = service.history
    most = max(trend.rps, default=0.0)
    return TableRow(
        service.name,
        (
            TableCell(health.symbol, health.tone),
            TableCell(service.name, "strong" if health.tone in ("bad", "partial") else "plain"),
            TableCell(health.text, health.tone),
            TableCell(format.format_number(service.rps)),
            success_cell(service.success, service.rps),
            TableCell(format.format_latency(service.p50_ms)),
            TableCell(format.format_latency(service.p95_ms)),
            TableCell(format.format_latency(service.p99_ms)),
            retries_cell(service.retries_per_s),
            breaker_cell(service.breaker),
            instances_cell(service),
            mtls_cell(service.mtls, service.rps),
            TableCell(format.sparkline(trend.rps, TREND_WIDTH), "accent"),
            TableCell(format.sparkline(trend.failures_per_s, TREND_WIDTH, most, zero=" "), "bad"),
            TableCell(format.sparkline(trend.p99_ms, TREND_WIDTH), "dim"),
        ),
    )


def success_cell(share: float, rps: float) -> TableCell:
    """The share of answers that did not fail; none where nothing was answered."""
    if rps <= 0:
        return TableCell(format.NO_VALUE, "dim")
    tone: Tone = "plain" if share >= GOOD else "partial" if share >= POOR else "bad"
    return TableCell(format.format_percent(share), tone)


def retries_cell(per_second: float) -> TableCell:
    """Retries in a second."""
    return TableCell(format.format_number(per_second), "partial" if per_second > 0 else "dim")


def breaker_cell(state: str) -> TableCell:
    """A circuit breaker's state."""
    said = format.BREAKER_LABELS.get(state, format.UNKNOWN_LABEL)
    return TableCell(f"{said.symbol} {said.text}".strip(), "dim" if state == "closed" else said.tone)


def instances_cell(service: ServiceSummary) -> TableCell:
    """Healthy ones of all; a gateway has none."""
    if service.role == "gateway":
        return TableCell("gate", "dim")
    tone: Tone = "plain" if service.healthy == service.instances else "partial" if service.healthy else "bad"
    return TableCell(f"{service.healthy}/{service.instances}", tone)


def mtls_cell(proven: bool, rps: float) -> TableCell:
    """Whether all calls are under mutual TLS."""
    if rps <= 0:
        return TableCell(format.NO_VALUE, "dim")
    return TableCell("● yes", "good") if proven else Cell("✖ no", "bad")


EDGE_COLUMNS: tuple[TableColumn, ...] = (
    TableColumn("", 1),
    TableColumn("calls", 12, grow=True),
    TableColumn("rate/s", 6, right=True),
    TableColumn("ok %", 5, right=True),
    TableColumn("p50", 5, right=True, drop_rank=4),
    TableColumn("p99 ms", 6, right=True, drop_rank=1),
    TableColumn("retr/s", 6, right=True, drop_rank=3),
    TableColumn("breaker", 9, drop_rank=2),
)


def edge_row(edge: TopologyEdge, name: str) -> TableRow:
    """A call from or to a service as a line: the arrow says which way."""
    outward = edge.from_ == name
    other = edge.to if outward else edge.from_
    failing = edge.rps > 0 and edge.success < POOR
    tone: Tone = "bad" if failing else "partial" if edge.rps > 0 and edge.success < GOOD else "plain"
    return TableRow(
        f"{edge.from_}>{edge.to}",
        (
            TableCell("→" if outward else "←", "accent"),
            TableCell(other, tone),
            TableCell(format.format_number(edge.rps)),
            success_cell(edge.success, edge.rps),
            TableCell(format.format_latency(edge.p50_ms)),
            TableCell(format.format_latency(edge.p99_ms)),
            retries_cell(edge.retries_per_s),
            breaker_cell(edge.breaker),
        ),
    )
