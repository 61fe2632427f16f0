"""Sidecars as table rows, the worst state first. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.models.proxies import ProxyDetail
from meshwright.tui.format import (
    NO_VALUE,
    PROXY_LABELS,
    UNKNOWN_LABEL,
    Tone,
    format_age,
    format_mib,
    sanitize,
)
from meshwright.tui.widgets.table_model import LazyRows, SortOrder, TableCell, TableColumn, TableRow

STATE_ORDER = ("rejected", "pending", "disconnected", "synced")
"""The worst first."""

EXPIRY_WARNING = 600.0
"""Seconds before its expiry from which a certificate is highlighted. Renewal is due at half of its lifetime
of an hour.
"""

COLUMNS: tuple[TableColumn, ...] = (
    TableColumn("", 1),
    TableColumn("sidecar", 14, grow=True),
    TableColumn("service", 10, grow=True, drop_rank=4),
    TableColumn("state", 12),
    TableColumn("rev", 5, right=True, drop_rank=1),
    TableColumn("certificate", 11, right=True, drop_rank=2),
    TableColumn("Envoy", 7, drop_rank=5),
    TableColumn("memory", 8, right=True, drop_rank=3),
    TableColumn("uptime", 6, right=True, drop_rank=6),
    TableColumn("message", 20, grow=True, drop_rank=7),
    TableColumn("labels", 12, grow=True, drop_rank=8, optional=True),
)


SORT_ORDERS: tuple[SortOrder[ProxyDetail], ...] = (
    SortOrder(
        "severity",
        "",
        lambda proxy: (STATE_ORDER.index(proxy.state), proxy.service, proxy.name),
        descending=True,
    ),
    SortOrder("name", "sidecar", lambda proxy: (proxy.name, proxy.service)),
    SortOrder("service", "service", lambda proxy: (proxy.service, proxy.name)),
    SortOrder("state", "state", lambda proxy: (proxy.state, proxy.service, proxy.name)),
    SortOrder("revision", "rev", lambda proxy: (proxy.revision, proxy.name)),
    SortOrder("certificate", "certificate", lambda proxy: (proxy.expires, proxy.name)),
    SortOrder("version of Envoy", "Envoy", lambda proxy: (proxy.version, proxy.name)),
    SortOrder("memory", "memory", lambda proxy: (-proxy.memory, proxy.name), descending=True),
    SortOrder("uptime", "uptime", lambda proxy: (proxy.uptime, proxy.name)),
    SortOrder("message", "message", lambda proxy: (not proxy.error, proxy.error, proxy.name)),
)


def proxy_key(proxy: ProxyDetail) -> str:
    """Identifies a proxy: names are unique only within a service."""
    return f"{proxy.service}/{proxy.name}"


def build_rows(
    proxies: Iterable[ProxyDetail], newest: int, now: float, labels_of: Callable[[str], str]
) -> LazyRows[ProxyDetail]:
    """The rows of sidecars, each built when it is first drawn. `labels_of`: the labels of one by its key."""

    def labels(proxy: ProxyDetail) -> str:
        return sanitize(labels_of(proxy_key(proxy)))

    return LazyRows(
        proxies,
        key=proxy_key,
        make=lambda proxy: proxy_row(proxy, newest, now, labels(proxy)),
        texts={
            1: attrgetter("name"),
            2: attrgetter("service"),
            9: lambda proxy: sanitize(proxy.error),
            10: labels,
        },
    )


def proxy_row(proxy: ProxyDetail, newest: int, now: float, labels: str = "") -> TableRow:
    """The row of a sidecar. `newest`: the mesh's revision; `now` in seconds since the epoch."""
    label = PROXY_LABELS.get(proxy.state, UNKNOWN_LABEL)
    revision_tone: Tone = "plain" if proxy.revision >= newest else "partial"
    reported = proxy.reported
    return TableRow(
        proxy_key(proxy),
        (
            TableCell(label.symbol, label.tone),
            TableCell(proxy.name, "strong" if label.tone in ("bad", "partial") else "plain"),
            TableCell(proxy.service, "dim"),
            TableCell(label.text, label.tone),
            TableCell(str(proxy.revision), revision_tone),
            expiry_cell(proxy.expires, now) if reported else TableCell(NO_VALUE, "dim"),
            TableCell(proxy.version if reported else NO_VALUE, "dim"),
            TableCell(format_mib(proxy.memory) if reported else NO_VALUE),
            TableCell(format_age(proxy.uptime) if reported else NO_VALUE, "dim"),
            TableCell(sanitize(proxy.error), "bad"),
            TableCell(labels, "dim"),
        ),
    )


def expiry_cell(expires: float, now: float) -> TableCell:
    """The time until a certificate expires; both in seconds since the epoch, 0: unknown."""
    if expires <= 0:
        return TableCell(NO_VALUE, "dim")
    if expires <= now:
        return TableCell(f"{signs.BAD} expired", "bad")
    return TableCell(format_age(expires - now), "plain" if expires - now > EXPIRY_WARNING else "partial")
