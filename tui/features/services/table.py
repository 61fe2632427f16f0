"""Services and edges as table rows, sorted by severity or by any column. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.models.topology import HealthThresholds, ServiceSummary, TopologyEdge
from meshwright.tui.format import (
    BREAKER_LABELS,
    HEALTH_LABELS,
    NO_VALUE,
    UNKNOWN_LABEL,
    Tone,
    format_latency,
    format_number,
    format_percent,
    sanitize,
    sparkline,
    success_tone,
)
from meshwright.tui.graph.edge_labels import QUIET_BREAKERS
from meshwright.tui.widgets.table_model import LazyRows, SortOrder, TableCell, TableColumn, TableRow

HEALTH_RANK: Mapping[str, int] = {"unhealthy": 0, "degraded": 1, "healthy": 2, "unknown": 3}
BREAKER_WIDTH = 9
"""Cells of the column of breakers: `half-open`, `□ partial`."""

BREAKER_RANK: Mapping[str, int] = {"open": 0, "partial": 1, "half-open": 2, "closed": 3, "none": 3}


def _severity_key(service: ServiceSummary) -> tuple[int, int, int, str]:
    """By health and breaker, then failures in per cent: rows keep their place while rates fluctuate."""
    failed = round((1 - service.success) * 100) if service.rps else 0
    return HEALTH_RANK.get(service.health, 3), BREAKER_RANK.get(service.breaker, 2), -failed, service.name


SORT_ORDERS: tuple[SortOrder[ServiceSummary], ...] = (
    SortOrder("severity", "", _severity_key, descending=True),
    SortOrder("name", "service", lambda service: service.name),
    SortOrder("rate", "rps", lambda service: (-service.rps, service.name), descending=True),
    SortOrder("success", "ok %", lambda service: (service.success if service.rps else 2, service.name)),
    SortOrder("p50", "p50", lambda service: (-service.p50_ms, service.name), descending=True),
    SortOrder("p95", "p95", lambda service: (-service.p95_ms, service.name), descending=True),
    SortOrder("p99", "p99 ms", lambda service: (-service.p99_ms, service.name), descending=True),
    SortOrder("retries", "retr/s", lambda service: (-service.retries_per_s, service.name), descending=True),
    SortOrder("refused", "refu/s", lambda service: (-service.refused_per_s, service.name), descending=True),
    SortOrder(
        "breaker",
        "breaker",
        lambda service: (BREAKER_RANK.get(service.breaker, 2), service.name),
        descending=True,
    ),
    SortOrder(
        "ready instances", "ready", lambda service: (service.healthy - service.instances, service.name)
    ),
)

TREND_WIDTH = 20
"""Cells of the sparkline of the last 15 minutes."""

COLUMNS: tuple[TableColumn, ...] = (
    TableColumn("", 1),
    TableColumn("service", 12, grow=True),
    TableColumn("health", 10, drop_rank=10),
    TableColumn("rps", 7, right=True),
    TableColumn("ok %", 5, right=True),
    TableColumn("p50", 5, right=True, drop_rank=6),
    TableColumn("p95", 5, right=True, drop_rank=7),
    TableColumn("p99 ms", 6, right=True, drop_rank=1),
    TableColumn("retr/s", 6, right=True, drop_rank=4),
    TableColumn("refu/s", 6, right=True, drop_rank=5),
    TableColumn("breaker", BREAKER_WIDTH, drop_rank=2),
    TableColumn("ready", 5, right=True, drop_rank=3),
    TableColumn("mTLS", 5, drop_rank=8),
    TableColumn("rps, 15 min", TREND_WIDTH, drop_rank=9),
    TableColumn("failures", TREND_WIDTH, drop_rank=11),
    TableColumn("p99", TREND_WIDTH, drop_rank=12),
    TableColumn("labels", 12, grow=True, drop_rank=13, optional=True),
)


def build_rows(
    services: Iterable[ServiceSummary], thresholds: HealthThresholds, labels_of: Callable[[str], str]
) -> LazyRows[ServiceSummary]:
    """The rows of services, each built when it is first drawn. `labels_of`: the labels of one by name."""
    name = attrgetter("name")

    def labels(service: ServiceSummary) -> str:
        return sanitize(labels_of(service.name))

    return LazyRows(
        services,
        key=name,
        make=lambda service: service_row(service, thresholds, labels(service)),
        texts={1: name, len(COLUMNS) - 1: labels},
    )


def service_row(service: ServiceSummary, thresholds: HealthThresholds, labels: str = "") -> TableRow:
    """The row of a service or gateway."""
    health = HEALTH_LABELS.get(service.health, UNKNOWN_LABEL)
    trend = service.history
    max_rps = max(trend.rps, default=0.0)
    return TableRow(
        service.name,
        (
            TableCell(health.symbol, health.tone),
            TableCell(service.name, "strong" if health.tone in ("bad", "partial") else "plain"),
            TableCell(health.text, health.tone),
            TableCell(format_number(service.rps)),
            success_cell(service.success, service.rps, success_tone(service.success, thresholds)),
            TableCell(format_latency(service.p50_ms)),
            TableCell(format_latency(service.p95_ms)),
            TableCell(format_latency(service.p99_ms)),
            rate_cell(service.retries_per_s),
            rate_cell(service.refused_per_s),
            breaker_cell(service.breaker),
            instances_cell(service),
            mtls_cell(service.mtls, service.rps),
            TableCell(sparkline(trend.rps, TREND_WIDTH), "accent"),
            TableCell(sparkline(trend.failures_per_s, TREND_WIDTH, max_rps, zero=" "), "bad"),
            TableCell(sparkline(trend.p99_ms, TREND_WIDTH), "dim"),
            TableCell(labels, "dim"),
        ),
    )


def success_cell(success: float, rps: float, tone: Tone) -> TableCell:
    """A success rate in per cent; a dash without traffic."""
    return TableCell(format_percent(success), tone) if rps > 0 else TableCell(NO_VALUE, "dim")


def rate_cell(per_second: float) -> TableCell:
    """Retries or refusals per second."""
    return TableCell(format_number(per_second), "partial" if per_second > 0 else "dim")


def breaker_cell(state: str) -> TableCell:
    """The state of a circuit breaker; the symbol where both fit."""
    label = BREAKER_LABELS.get(state, UNKNOWN_LABEL)
    text = f"{label.symbol} {label.text}".strip()
    text = text if len(text) <= BREAKER_WIDTH else label.text
    return TableCell(text, "dim" if state in QUIET_BREAKERS else label.tone)


def instances_cell(service: ServiceSummary) -> TableCell:
    """Healthy instances of all; gateways have no instances."""
    if service.role != "service":
        return TableCell(NO_VALUE, "dim")
    tone: Tone = "plain" if service.healthy == service.instances else "partial" if service.healthy else "bad"
    return TableCell(f"{service.healthy}/{service.instances}", tone)


def mtls_cell(mtls: bool, rps: float) -> TableCell:
    """Whether all calls use mutual TLS; a dash without traffic."""
    if rps <= 0:
        return TableCell(NO_VALUE, "dim")
    return TableCell(f"{signs.GOOD} yes", "good") if mtls else TableCell(f"{signs.BAD} no", "bad")


EDGE_COLUMNS: tuple[TableColumn, ...] = (
    TableColumn("", 1),
    TableColumn("calls", 12, grow=True),
    TableColumn("rps", 6, right=True),
    TableColumn("ok %", 5, right=True),
    TableColumn("p50", 5, right=True, drop_rank=4),
    TableColumn("p99 ms", 6, right=True, drop_rank=1),
    TableColumn("retr/s", 6, right=True, drop_rank=3),
    TableColumn("breaker", BREAKER_WIDTH, drop_rank=2),
)

_EDGE_TONES: Mapping[str, Tone] = {"degraded": "partial", "unhealthy": "bad"}


def edge_row(edge: TopologyEdge, service: str) -> TableRow:
    """An edge from or to a service; the arrow shows the direction."""
    outbound = edge.from_ == service
    tone = _EDGE_TONES.get(edge.health, "plain")
    return TableRow(
        f"{edge.from_}>{edge.to}",
        (
            TableCell("→" if outbound else "←", "accent"),
            TableCell(edge.to if outbound else edge.from_, tone),
            TableCell(format_number(edge.rps)),
            success_cell(edge.success, edge.rps, tone),
            TableCell(format_latency(edge.p50_ms)),
            TableCell(format_latency(edge.p99_ms)),
            rate_cell(edge.retries_per_s),
            breaker_cell(edge.breaker),
        ),
    )
