"""Rows of a service's panes: instances, policies and traces. Pure."""

from __future__ import annotations

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.control_plane.api.models.policies import AttachedPolicy, PolicyStatus
from meshwright.control_plane.api.models.proxies import ProxyDetail
from meshwright.control_plane.api.models.refusals import RefusalCount
from meshwright.control_plane.api.models.traces import TraceSummary
from meshwright.tui.format import (
    HEALTH_LABELS,
    POLICY_LABELS,
    PROXY_LABELS,
    UNKNOWN_LABEL,
    Tone,
    format_age,
    format_count,
    format_latency,
    format_number,
    format_time,
    sanitize,
)
from meshwright.tui.refusal_text import OUTCOME_TEXTS
from meshwright.tui.widgets.table_model import TableCell, TableColumn, TableRow

INSTANCE_COLUMNS: tuple[TableColumn, ...] = (
    TableColumn("", 1),
    TableColumn("instance", 12, grow=True),
    TableColumn("health", 10),
    TableColumn("since", 8, drop_rank=4),
    TableColumn("reason", 6, grow=True, drop_rank=1),
    TableColumn("labels", 6, grow=True, drop_rank=3),
    TableColumn("address", 15, drop_rank=2),
)
POLICY_COLUMNS: tuple[TableColumn, ...] = (
    TableColumn("", 1),
    TableColumn("policy", 32, grow=True),
    TableColumn("level", 7, drop_rank=2),
    TableColumn("state", 16),
    TableColumn("note", 28, grow=True, drop_rank=3),
)
TRACE_COLUMNS: tuple[TableColumn, ...] = (
    TableColumn("", 1),
    TableColumn("started", 8),
    TableColumn("request", 16, grow=True),
    TableColumn("ms", 6, right=True),
    TableColumn("spans", 5, right=True, drop_rank=2),
    TableColumn("trace", 8, drop_rank=1),
)


REFUSAL_COLUMNS: tuple[TableColumn, ...] = (
    TableColumn("", 1),
    TableColumn("refused", 8),
    TableColumn("by", 16, grow=True),
    TableColumn("calls", 10, grow=True, drop_rank=2),
    TableColumn("per s", 6, right=True),
    TableColumn("total", 6, right=True, drop_rank=1),
    TableColumn("last", 8, drop_rank=3),
)


def instance_row(instance: InstanceStatus, changed: float, now: float) -> TableRow:
    """An instance; `changed`: when its health last changed, 0: unknown."""
    health = HEALTH_LABELS.get(instance.health, UNKNOWN_LABEL)
    labels = " ".join(f"{name}={value}" for name, value in sorted(instance.labels.items()))
    restarts = f"restarted {instance.restarts}x, {instance.last_exit}" if instance.restarts else ""
    reason = sanitize(instance.reason or restarts)
    return TableRow(
        instance.name,
        (
            TableCell(health.symbol, health.tone),
            TableCell(instance.name),
            TableCell(health.text, health.tone),
            TableCell(format_age(now - changed) if changed else "", "dim"),
            TableCell(reason, health.tone),
            TableCell(sanitize(labels), "dim"),
            TableCell(instance.address, "dim"),
        ),
    )


def proxy_row(proxy: ProxyDetail) -> TableRow:
    """The proxy of a gateway, which has no instances."""
    label = PROXY_LABELS.get(proxy.state, UNKNOWN_LABEL)
    cells = (TableCell(label.symbol, label.tone), TableCell(proxy.name), TableCell(label.text, label.tone))
    return TableRow(proxy.name, cells)


def policy_row(policy: AttachedPolicy, status: PolicyStatus | None) -> TableRow:
    """A policy that targets the service: its level and state, or the policy that overrides it."""
    label = POLICY_LABELS[policy.state]
    name = f"{policy.kind} {policy.name}"
    key = f"{name} {policy.target} {policy.section} {','.join(policy.from_)}"  # it may have several targets
    note = sanitize(status.reason) if status else ""
    if policy.from_:
        note = f"from {', '.join(policy.from_)}  {note}".rstrip()
    if not policy.in_force:
        overridden = f"overridden by {policy.overridden_by}" if policy.overridden_by else "not in force"
        cells = (signs.OFF, name, policy.level, "overridden", overridden)
        return TableRow(key, tuple(TableCell(text, "off") for text in cells))
    return TableRow(
        key,
        (
            TableCell(label.symbol, label.tone),
            TableCell(name),
            TableCell(policy.level, "dim"),
            TableCell(label.text, label.tone),
            TableCell(note, "dim"),
        ),
    )


def trace_row(trace: TraceSummary) -> TableRow:
    """A trace."""
    failed = trace.errors > 0
    return TableRow(
        trace.id,
        (
            TableCell(signs.BAD, "bad") if failed else TableCell(signs.GOOD, "good"),
            TableCell(format_time(trace.start), "dim"),
            TableCell(sanitize(trace.request or trace.operation), "bad" if failed else "plain"),
            TableCell(format_latency(trace.duration)),
            TableCell(str(trace.spans), "dim"),
            TableCell(trace.id[:8], "dim"),
        ),
    )


def refusal_row(refusal: RefusalCount, service: str) -> TableRow:
    """Who is refused, by what, how often; the arrow shows whether at `service` or on the way from it.

    The key begins with the policy to look at; that of a handshake with a space.
    """
    by = ", ".join(refusal.policies)
    tone: Tone = "partial" if refusal.per_s else "dim"
    callee = refusal.callee or refusal.service
    call = f"← {refusal.caller or 'unknown'}" if callee == service else f"→ {callee}"
    return TableRow(
        f"{by.partition(', ')[0]} {refusal.service} {refusal.caller} {callee} {refusal.outcome} {by}",
        (
            TableCell(signs.BLOCKED, tone),
            TableCell(OUTCOME_TEXTS[refusal.outcome], tone),
            TableCell(sanitize(by or "mutual TLS")),
            TableCell(sanitize(call), "dim"),
            TableCell(format_number(refusal.per_s), tone),
            TableCell(format_count(refusal.total)),
            TableCell(format_time(refusal.last), "dim"),
        ),
    )
