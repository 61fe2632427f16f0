"""Sidecars as rows of a table, what is bad first. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from meshwright.control_plane.api.models.base import ProxyDetail
from meshwright.tui import format
from meshwright.tui.format import Tone
from meshwright.tui.widgets.table_model import LazyRows, TableCell, TableColumn, TableRow

STATE_ORDER = ("rejected", "pending", "disconnected", "synced")
"""What is bad first."""

EXPIRY_WARNING = 600.0
"""Seconds before its end at which a certificate is worth a colour: a sixth of its life, long past renewal."""

COLUMNS: tuple[TableColumn, ...] = (
    TableColumn("", 1),
    TableColumn("sidecar", 14, grow=True),
    TableColumn("of", 10, grow=True, drop_rank=4),
    TableColumn("state", 12),
    TableColumn("rev", 5, right=True, drop_rank=1),
    TableColumn("certificate", 11, right=True, drop_rank=2),
    TableColumn("Envoy", 7, drop_rank=5),
    TableColumn("memory", 8, right=True, drop_rank=3),
    TableColumn("up", 6, right=True, drop_rank=6),
    TableColumn("Envoy's words", 20, grow=True, drop_rank=7),
)


def sort_proxies(proxies: Iterable[ProxyDetail]) -> list[ProxyDetail]:
    """By state, then service and name."""
    return sorted(proxies, key=lambda one: (STATE_ORDER.index(one.state), one.service, one.name))


def build_rows(proxies: Iterable[ProxyDetail], newest: int, now: float) -> LazyRows[ProxyDetail]:
    """Sidecars as the lines of a table."""
    return LazyRows(
        proxies,
        key=attrgetter("name"),
        make=lambda proxy: proxy_row(proxy, newest, now),
        texts={
            1: attrgetter("name"),
            2: attrgetter("service"),
            9: lambda proxy: format.sanitize(proxy.error),
        },
    )


def proxy_row(proxy: ProxyDetail, newest: int, now: float) -> TableRow:
    """A sidecar as its line; `newest` is the mesh's revision, `now` in seconds since the epoch."""
    said = format.PROXY_LABELS.get(proxy.state, format.UNKNOWN_LABEL)
    behind: Tone = "plain" if proxy.revision >= newest else "partial"
    told = proxy.reported
    return TableRow(
        proxy.name,
        (
            TableCell(said.symbol, said.tone),
            TableCell(proxy.name, "strong" if said.tone in ("bad", "partial") else "plain"),
            TableCell(proxy.service, "dim"),
            TableCell(said.text, said.tone),
            TableCell(str(proxy.revision), behind),
            expiry_cell(proxy.expires, now) if told else TableCell(format.NO_VALUE, "dim"),
            TableCell(proxy.version if told else format.NO_VALUE, "dim"),
            TableCell(format.format_mib(proxy.memory) if told else format.NO_VALUE),
            TableCell(format.format_age(proxy.uptime) if told else format.NO_VALUE, "dim"),
            TableCell(format.sanitize(proxy.error), "bad"),
        ),
    )


def expiry_cell(at: float, now: float) -> TableCell:
    """How long a certificate still stands."""
    if at <= 0:
        return TableCell(format.NO_VALUE, "dim")
    if at <= now:
        return TableCell("✖ expired", "bad")
    return TableCell(format.format_age(at - now), "plain" if at - now > EXPIRY_WARNING else "partial")
