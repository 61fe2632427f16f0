"""A trace as lines of text: its tree, service by service, with a bar for when each step was."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from cli import console
from cli.traces import clock, milliseconds
from control_plane.api import waterfall
from control_plane.api.waterfall import Row

DURATION_WIDTH, GAP = 8, 2
DEEPEST = 12
"""Columns of indentation at most: what hangs deeper is shown as deep as that."""


def lines(trace: Mapping[str, Any], width: int) -> Iterator[str]:
    """The whole trace (a Trace of the API as plain JSON) in lines of at most `width` columns."""
    yield from _head(trace, width)
    bar = width // 3
    label = width - bar - DURATION_WIDTH - 2 * GAP
    shown = ""
    for row in waterfall.rows(trace):
        indent = " " * min(row.depth, DEEPEST)
        if row.service != shown:
            shown = row.service
            yield _cut(f"{indent}{console.safe(shown)}", width)
        words = f"{indent} {_step(row)}"
        took = milliseconds(row.duration)
        when = waterfall.line(row, bar)
        yield f"{_cut(words, label):<{label}}  {took:>{DURATION_WIDTH}}  {when}".rstrip()
        yield from _reasons(row, indent + "     ", width)


def _head(trace: Mapping[str, Any], width: int) -> Iterator[str]:
    failed = trace["errors"]
    state = console.state("bad", f"{failed} failed") if failed else console.state("good", "none failed")
    yield f"trace {trace['id']}"
    yield _cut(
        f"{clock(trace['start'])}   {milliseconds(trace['duration'])}   {trace['spans']} spans of "
        f"{len(trace['services'])} services   {state}",
        width,
    )
    if trace["dropped"]:
        yield f"{trace['dropped']} more spans did not fit"
    yield ""


def _step(row: Row) -> str:
    level: console.Level = "bad" if row.error else "partial" if row.is_refusal else "good"
    return console.safe(console.state(level, row.words))


def _reasons(row: Row, indent: str, width: int) -> Iterator[str]:
    for reason in row.reasons:
        yield from textwrap.wrap(
            console.safe(reason), width, initial_indent=indent, subsequent_indent=indent + "  "
        )


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
