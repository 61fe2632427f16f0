"""A trace as text: its span tree, service by service, with a bar for the time of each span."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from meshwright.cli.output import Level, sanitize, status_text
from meshwright.cli.traces import format_clock, format_milliseconds
from meshwright.control_plane.api import waterfall
from meshwright.control_plane.api.waterfall import WaterfallRow

DURATION_WIDTH, GAP = 8, 2
MAX_INDENT = 12
"""Maximum columns of indentation. Deeper spans are indented like this."""


def waterfall_lines(trace: Mapping[str, Any], width: int) -> Iterator[str]:
    """A trace (the JSON of the API) as lines of at most `width` columns."""
    yield from _header(trace, width)
    bar_width = width // 3
    label_width = width - bar_width - DURATION_WIDTH - 2 * GAP
    service = ""
    for row in waterfall.build_rows(trace):
        indent = " " * min(row.depth, MAX_INDENT)
        if row.service != service:
            service = row.service
            yield _truncate(f"{indent}{sanitize(service)}", width)
        label = _truncate(f"{indent} {_label(row)}", label_width)
        duration = format_milliseconds(row.duration)
        bar = waterfall.text_bar(row, bar_width)
        yield f"{label:<{label_width}}  {duration:>{DURATION_WIDTH}}  {bar}".rstrip()
        yield from _reason_lines(row, indent + "     ", width)


def _header(trace: Mapping[str, Any], width: int) -> Iterator[str]:
    errors = trace["errors"]
    state = status_text("bad", f"{errors} failed") if errors else status_text("good", "none failed")
    yield f"trace {trace['id']}"
    yield _truncate(
        f"{format_clock(trace['start'])}   {format_milliseconds(trace['duration'])}   "
        f"{trace['spans']} spans of {len(trace['services'])} services   {state}",
        width,
    )
    if trace["dropped"]:
        yield f"{trace['dropped']} more spans were dropped: the trace exceeds the limit"
    yield ""


def _label(row: WaterfallRow) -> str:
    level: Level = "bad" if row.error else "partial" if row.is_client_error else "good"
    return sanitize(status_text(level, row.label))


def _reason_lines(row: WaterfallRow, indent: str, width: int) -> Iterator[str]:
    for reason in row.reasons:
        yield from textwrap.wrap(
            sanitize(reason), width, initial_indent=indent, subsequent_indent=indent + "  "
        )


def _truncate(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
