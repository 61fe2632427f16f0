"""Sidecars as rows of a table, what is bad first. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from control_plane.api.types import ProxyDetail
from tui import words
from tui.rows import Cell, Column, Lines, Row
from tui.words import Tone

STATES = ("rejected", "pending", "disconnected", "synced")
"""What is bad first."""

SOON = 600.0
"""Seconds before its end at which a certificate is worth a colour: a sixth of its life, long past renewal."""

COLUMNS: tuple[Column, ...] = (
    Column("", 1),
    Column("sidecar", 14, grow=True),
    Column("of", 10, grow=True, rank=4),
    Column("state", 12),
    Column("rev", 5, right=True, rank=1),
    Column("certificate", 11, right=True, rank=2),
    Column("Envoy", 7, rank=5),
    Column("memory", 8, right=True, rank=3),
    Column("up", 6, right=True, rank=6),
    Column("Envoy's words", 20, grow=True, rank=7),
)


def ordered(proxies: Iterable[ProxyDetail]) -> list[ProxyDetail]:
    """By state, then service and name."""
    return sorted(proxies, key=lambda one: (STATES.index(one.state), one.service, one.name))


def lines(proxies: Iterable[ProxyDetail], newest: int, now: float) -> Lines[ProxyDetail]:
    """Sidecars as the lines of a table."""
    return Lines(
        proxies,
        key=attrgetter("name"),
        make=lambda proxy: row(proxy, newest, now),
        texts={
            1: attrgetter("name"),
            2: attrgetter("service"),
            9: lambda proxy: words.clean(proxy.error),
        },
    )


def row(proxy: ProxyDetail, newest: int, now: float) -> Row:
    """A sidecar as its line; `newest` is the mesh's revision, `now` in seconds since the epoch."""
    said = words.PROXY.get(proxy.state, words.UNKNOWN)
    behind: Tone = "plain" if proxy.revision >= newest else "partial"
    told = proxy.reported
    return Row(
        proxy.name,
        (
            Cell(said.sign, said.tone),
            Cell(proxy.name, "strong" if said.tone in ("bad", "partial") else "plain"),
            Cell(proxy.service, "dim"),
            Cell(said.word, said.tone),
            Cell(str(proxy.revision), behind),
            expiry(proxy.expires, now) if told else Cell(words.NOTHING, "dim"),
            Cell(proxy.version if told else words.NOTHING, "dim"),
            Cell(words.size(proxy.memory) if told else words.NOTHING),
            Cell(words.age(proxy.uptime) if told else words.NOTHING, "dim"),
            Cell(words.clean(proxy.error), "bad"),
        ),
    )


def expiry(at: float, now: float) -> Cell:
    """How long a certificate still stands."""
    if at <= 0:
        return Cell(words.NOTHING, "dim")
    if at <= now:
        return Cell("✖ expired", "bad")
    return Cell(words.age(at - now), "plain" if at - now > SOON else "partial")
