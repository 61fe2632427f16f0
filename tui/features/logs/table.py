"""Log lines as table rows, and how serious a line looks. Pure."""

from __future__ import annotations

import re

from meshwright.control_plane.api.log_lines import LogLine
from meshwright.tui.format import NO_VALUE, Tone, format_time, sanitize
from meshwright.tui.widgets.table_model import SortOrder, TableCell, TableColumn, TableRow

COLUMNS: tuple[TableColumn, ...] = (
    TableColumn("time", 8, drop_rank=1),
    TableColumn("instance", 12, grow=True),
    TableColumn("of", 5, drop_rank=2),
    TableColumn("line", 30, grow=True),
)

MAX_LINE = 4000
"""Characters of a line that are kept."""

_HEAD = 300
"""Characters of a line in which its level is looked for."""

_ERROR = re.compile(r"\b(?:error|critical|fatal|panic|traceback)\b", re.IGNORECASE)
_WARNING = re.compile(r"\bwarn(?:ing)?\b", re.IGNORECASE)

_TRACE_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])", re.IGNORECASE)
"""A trace ID as W3C Trace Context writes it: 32 hexadecimal digits."""


def line_tone(text: str) -> Tone:
    """The tone of a line by the level that it names."""
    head = text[:_HEAD]
    return "bad" if _ERROR.search(head) else "partial" if _WARNING.search(head) else "plain"


def trace_id(text: str) -> str:
    """The first trace ID in a line; empty: none."""
    match = _TRACE_ID.search(text)
    return match[0].lower() if match else ""


def source_name(line: LogLine) -> str:
    """Who wrote a line: `app` or `Envoy`."""
    return "app" if line.log.source == "app" else "Envoy"


ORDERS: tuple[SortOrder[LogLine], ...] = (
    SortOrder("arrival", "time", lambda _: 0),
    SortOrder("instance", "instance", lambda line: line.log.name),
    SortOrder("app or Envoy", "of", source_name),
)
"""Those that are equal stay in the order of arrival."""


def log_row(key: str, line: LogLine) -> TableRow:
    """The row of a line."""
    return TableRow(
        key,
        (
            TableCell(format_time(line.time) if line.time else NO_VALUE, "dim"),
            TableCell(sanitize(line.log.name), "accent"),
            TableCell(source_name(line), "dim"),
            TableCell(sanitize(line.text), line_tone(line.text)),
        ),
    )
