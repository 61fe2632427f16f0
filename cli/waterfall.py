"""A trace as lines of text: its tree, service by service, with a bar for when each step was."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from meshwright.cli import output
from meshwright.cli.traces import format_clock, format_milliseconds
from meshwright.control_plane.api import waterfall
from meshwright.control_plane.api.waterfall import WaterfallRow

DURATION_WIDTH, GAP = 8, 2
MAX_INDENT = 12
"""Columns of indentation at most: what hangs deeper is shown as deep as that."""


def waterfall_lines(trace: Mapping[str, Any], width: int) -> Iterator[str]:
    """The whole trace (a Trace of the API as plain JSON) in lines of at most `width` columns."""
    yield from _head(trace, width)
    bar = width // 3
    label = width - bar - DURATION_WIDTH - 2 * GAP
    shown = ""
    for row in waterfall.build_rows(trace):
        indent = " " * min(row.depth, MAX_INDENT)
        if row.service != shown:
            shown = row.service
            yield _cut(f"{indent}{output.sanitize(shown)}", width)
        words = f"{indent} {_step(row)}"
        took = format_milliseconds(row.duration)
        when = waterfall.text_bar(row, bar)
        yield f"{_cut(words, label):<{label}}  {took:>{DURATION_WIDTH}}  {when}".rstrip()
        yield from _reason_lines(row, indent + "     ", width)


def _head(trace: Mapping[str, Any], width: int) -> Iterator[str]:
    failed = trace["errors"]
    state = (
        output.status_text("bad", f"{failed} failed") if failed else output.status_text("good", "none failed")
    )
    yield f"trace {trace['id']}"
    yield _cut(
        f"{format_clock(trace['start'])}   {format_milliseconds(trace['duration'])}   {trace['spans']} spans of "
        f"{len(trace['services'])} services   {state}",
        width,
    )
    if trace["dropped"]:
        yield f"{trace['dropped']} more spans did not fit"
    yield ""


def _step(row: WaterfallRow) -> str:
    level: output.Level = "bad" if row.error else "partial" if row.is_client_error else "good"
    return output.sanitize(output.status_text(level, row.label))


def _reason_lines(row: WaterfallRow, indent: str, width: int) -> Iterator[str]:
    for reason in row.reasons:
        yield from textwrap.wrap(
            output.sanitize(reason), width, initial_indent=indent, subsequent_indent=indent + "  "
        )


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
