"""Rollouts as table rows, those that need a look first. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import attrgetter

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.models.rollouts import BackendFigures, RolloutPhase, RolloutStatus
from meshwright.tui.format import (
    NO_VALUE,
    StatusLabel,
    format_age,
    format_latency,
    format_percent,
    sanitize,
)
from meshwright.tui.widgets.table_model import LazyRows, SortOrder, TableCell, TableColumn, TableRow

PHASES: Mapping[RolloutPhase, StatusLabel] = {
    "Aborted": StatusLabel(signs.BAD, "aborted", "bad"),
    "Paused": StatusLabel(signs.PARTIAL, "paused", "partial"),
    "Progressing": StatusLabel(signs.UNDER_WAY, "progressing", "accent"),
    "Promoted": StatusLabel(signs.GOOD, "promoted", "good"),
}
"""In the order of the list."""

COLUMNS: tuple[TableColumn, ...] = (
    TableColumn("", 1),
    TableColumn("rollout", 12, grow=True),
    TableColumn("phase", 11),
    TableColumn("step", 6, right=True),
    TableColumn("share", 10, right=True),
    TableColumn("canary", 10, grow=True, drop_rank=4),
    TableColumn("ok %", 6, right=True),
    TableColumn("p99 ms", 7, right=True, drop_rank=2),
    TableColumn("stable", 10, grow=True, drop_rank=5),
    TableColumn("ok %", 6, right=True, drop_rank=1),
    TableColumn("p99 ms", 7, right=True, drop_rank=3),
    TableColumn("since", 5, right=True, drop_rank=6),
    TableColumn("why", 20, grow=True, drop_rank=7),
)

_ORDER = list(PHASES)

SORT_ORDERS: tuple[SortOrder[RolloutStatus], ...] = (
    SortOrder("severity", "", lambda item: (_ORDER.index(item.phase), item.name), descending=True),
    SortOrder("name", "rollout", lambda item: item.name),
    SortOrder("share", "share", lambda item: (-item.weight, -item.mirror, item.name), descending=True),
    SortOrder("age", "since", lambda item: (-item.since, item.name)),
)


def build_rows(rollouts: Iterable[RolloutStatus], now: float) -> LazyRows[RolloutStatus]:
    """The rows, each built when it is first drawn. `now` in seconds since the epoch."""
    return LazyRows(
        rollouts,
        key=attrgetter("name"),
        make=lambda item: _row(item, now),
        texts={
            1: attrgetter("name"),
            5: lambda item: _name(item.canary),
            8: lambda item: _name(item.stable),
            12: why,
        },
    )


def why(item: RolloutStatus) -> str:
    """What the rollout waits for, or else why it stands where it does."""
    return sanitize(f"waits for {item.waits_for}" if item.waits_for else item.reason)


def _row(item: RolloutStatus, now: float) -> TableRow:
    label = PHASES[item.phase]
    share = f"copies {item.mirror}%" if item.mirror else f"{item.weight}%"
    return TableRow(
        item.name,
        (
            TableCell(label.symbol, label.tone),
            TableCell(item.name, "strong"),
            TableCell(label.text, label.tone),
            TableCell(f"{item.step}/{item.steps}"),
            TableCell(share, "strong"),
            *_backend(item.canary, item.canary_figures),
            *_backend(item.stable, item.stable_figures),
            TableCell(format_age(now - item.since) if item.since else NO_VALUE, "dim"),
            TableCell(why(item), label.tone if item.phase == "Aborted" else "dim"),
        ),
    )


def _name(ref: str) -> str:
    """The name in `Kind/name`."""
    return ref.partition("/")[2]


def _backend(ref: str, figures: BackendFigures) -> tuple[TableCell, TableCell, TableCell]:
    name = TableCell(_name(ref))
    if not figures.requests:
        return name, TableCell(NO_VALUE, "dim"), TableCell(NO_VALUE, "dim")
    failing = figures.failures > 0
    return (
        name,
        TableCell(format_percent(figures.success_rate / 100), "bad" if failing else "plain"),
        TableCell(format_latency(figures.p99_ms)),
    )
