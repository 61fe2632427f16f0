"""Rows of the panes of a service: its instances, policies and traces. Pure."""

from __future__ import annotations

from meshwright.control_plane.api.models.base import InstanceStatus, PolicyStatus, ProxyDetail
from meshwright.control_plane.api.models.traces import TraceSummary
from meshwright.tui import format
from meshwright.tui.features.policies.effective_policies import EffectivePolicyRef, policy_state
from meshwright.tui.widgets.table_model import TableCell, TableColumn, TableRow

INSTANCE_COLUMNS: tuple[TableColumn, ...] = (
    TableColumn("", 1),
    TableColumn("instance", 12, grow=True),
    TableColumn("health", 10),
    TableColumn("since", 8, drop_rank=3),
    TableColumn("labels", 10, grow=True, drop_rank=1),
    TableColumn("address", 15, drop_rank=2),
)
POLICY_COLUMNS: tuple[TableColumn, ...] = (
    TableColumn("", 1),
    TableColumn("policy", 32, grow=True),
    TableColumn("by", 7, drop_rank=2),
    TableColumn("state", 12),
    TableColumn("", 28, grow=True, drop_rank=3),
)
TRACE_COLUMNS: tuple[TableColumn, ...] = (
    TableColumn("", 1),
    TableColumn("time", 8),
    TableColumn("request", 16, grow=True),
    TableColumn("ms", 6, right=True),
    TableColumn("spans", 5, right=True, drop_rank=2),
    TableColumn("id", 8, drop_rank=1),
)


def instance_row(told: InstanceStatus, changed: float, now: float) -> TableRow:
    """An instance; `changed`: when its health did, 0 when that is not known."""
    health = format.HEALTH_LABELS.get(told.health, format.UNKNOWN_LABEL)
    if told.health == "unhealthy":
        health = format.StatusLabel("✖", "unhealthy", "bad")
    labels = " ".join(f"{name}={value}" for name, value in sorted(told.labels.items()))
    return TableRow(
        told.name,
        (
            TableCell(health.symbol, health.tone),
            TableCell(told.name),
            TableCell(health.text, health.tone),
            TableCell(format.format_age(now - changed) if changed else "", "dim"),
            TableCell(labels, "dim"),
            TableCell(told.address, "dim"),
        ),
    )


def proxy_row(told: ProxyDetail) -> TableRow:
    """The proxy of a gateway, which has no instances."""
    said = format.PROXY_LABELS.get(told.state, format.UNKNOWN_LABEL)
    return TableRow(
        told.name, (TableCell(said.symbol, said.tone), TableCell(told.name), TableCell(said.text, said.tone))
    )


def policy_row(one: EffectivePolicyRef, status: PolicyStatus | None) -> TableRow:
    """A policy that is in force, with what became of it."""
    said, reason = policy_state(status)
    return TableRow(
        f"{one.kind} {one.name}",
        (
            TableCell(said.symbol, said.tone),
            TableCell(f"{one.kind} {one.name}"),
            TableCell(one.attached_to, "dim"),
            TableCell(said.text, said.tone),
            TableCell(reason, "dim"),
        ),
    )


def trace_row(one: TraceSummary) -> TableRow:
    """A trace in a line."""
    sign = TableCell("✖", "bad") if one.errors else Cell("●", "good")
    request = format.sanitize(one.request or one.operation)
    return TableRow(
        one.id,
        (
            sign,
            TableCell(format.format_time(one.start), "dim"),
            TableCell(request, "bad" if one.errors else "plain"),
            TableCell(format.format_latency(one.duration)),
            TableCell(str(one.spans), "dim"),
            TableCell(one.id[:8], "dim"),
        ),
    )
