"""Rows of the panes of a service: its instances, policies and traces. Pure."""

from __future__ import annotations

from control_plane.api.traced import TraceSummary
from control_plane.api.types import InstanceStatus, PolicyStatus, ProxyDetail
from tui import words
from tui.attached import Attached, verdict
from tui.rows import Cell, Column, Row

INSTANCES: tuple[Column, ...] = (
    Column("", 1),
    Column("instance", 12, grow=True),
    Column("health", 10),
    Column("since", 8, rank=3),
    Column("labels", 10, grow=True, rank=1),
    Column("address", 15, rank=2),
)
POLICIES: tuple[Column, ...] = (
    Column("", 1),
    Column("policy", 32, grow=True),
    Column("by", 7, rank=2),
    Column("state", 12),
    Column("", 28, grow=True, rank=3),
)
TRACES: tuple[Column, ...] = (
    Column("", 1),
    Column("time", 8),
    Column("request", 16, grow=True),
    Column("ms", 6, right=True),
    Column("spans", 5, right=True, rank=2),
    Column("id", 8, rank=1),
)


def instance(told: InstanceStatus, changed: float, now: float) -> Row:
    """An instance; `changed`: when its health did, 0 when that is not known."""
    health = words.HEALTH.get(told.health, words.UNKNOWN)
    if told.health == "unhealthy":
        health = words.Said("✖", "unhealthy", "bad")
    labels = " ".join(f"{name}={value}" for name, value in sorted(told.labels.items()))
    return Row(
        told.name,
        (
            Cell(health.sign, health.tone),
            Cell(told.name),
            Cell(health.word, health.tone),
            Cell(words.age(now - changed) if changed else "", "dim"),
            Cell(labels, "dim"),
            Cell(told.address, "dim"),
        ),
    )


def proxy(told: ProxyDetail) -> Row:
    """The proxy of a gateway, which has no instances."""
    said = words.PROXY.get(told.state, words.UNKNOWN)
    return Row(told.name, (Cell(said.sign, said.tone), Cell(told.name), Cell(said.word, said.tone)))


def policy(one: Attached, status: PolicyStatus | None) -> Row:
    """A policy that is in force, with what became of it."""
    said, reason = verdict(status)
    return Row(
        f"{one.kind} {one.name}",
        (
            Cell(said.sign, said.tone),
            Cell(f"{one.kind} {one.name}"),
            Cell(one.by, "dim"),
            Cell(said.word, said.tone),
            Cell(reason, "dim"),
        ),
    )


def trace(one: TraceSummary) -> Row:
    """A trace in a line."""
    sign = Cell("✖", "bad") if one.errors else Cell("●", "good")
    request = words.clean(one.request or one.operation)
    return Row(
        one.id,
        (
            sign,
            Cell(words.clock(one.start), "dim"),
            Cell(request, "bad" if one.errors else "plain"),
            Cell(words.latency(one.duration)),
            Cell(str(one.spans), "dim"),
            Cell(one.id[:8], "dim"),
        ),
    )
