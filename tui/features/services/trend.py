"""The last 15 minutes in four lines: rate, failures, p99, and an axis that marks revisions. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from textual.content import Content

from meshwright.control_plane.api.models.revisions import RevisionInfo
from meshwright.control_plane.api.models.topology import ServiceTrend
from meshwright.tui.format import NO_VALUE, Tone, format_milliseconds, format_number, pad, sparkline
from meshwright.tui.theme import paint

LABEL_WIDTH = 10
"""Cells of the labels before the bars."""

VALUE_WIDTH = 14
"""Cells of the newest value after the bars."""

SPAN_SECONDS = 900.0
"""Seconds that are shown."""


def trend_lines(
    trend: ServiceTrend, revisions: Iterable[RevisionInfo], now: float, width: int
) -> list[Content]:
    """Four lines in `width` cells. `now`: when the trend was fetched, in seconds since the epoch."""
    cells = max(8, width - LABEL_WIDTH - VALUE_WIDTH - 2)
    steps = max(1, round(SPAN_SECONDS / trend.step))
    rate = _pad_history(trend.rps, steps)
    failures = _pad_history(trend.failures_per_s, steps)
    p99 = _pad_history(trend.p99_ms, steps)
    rate_bars = sparkline(_stretch(rate, cells), cells)
    failure_bars = sparkline(_stretch(failures, cells), cells, max(rate), zero=" ")
    p99_bars = sparkline(_stretch(p99, cells), cells, zero=" ")
    return [
        _bar_line("rate", rate_bars, "accent", f"{format_number(rate[-1])}/s"),
        _bar_line("failures", failure_bars, "bad", f"{format_number(failures[-1])}/s"),
        _bar_line("p99", p99_bars, "partial", format_milliseconds(p99[-1]) if p99[-1] else NO_VALUE),
        _axis(revisions, now, cells),
    ]


def _bar_line(name: str, bars: str, tone: Tone, value: str) -> Content:
    label = paint(pad(f" {name}", LABEL_WIDTH), "dim")
    return Content.assemble(label, paint(bars, tone), " ", pad(value, VALUE_WIDTH))


def _pad_history(values: tuple[float, ...], steps: int) -> list[float]:
    """The last `steps` values, with zeros before the first one known."""
    recent = list(values[-steps:])
    return [0.0] * (steps - len(recent)) + recent


def _stretch(values: list[float], cells: int) -> list[float]:
    """At least as many values as cells, so that bars and axis start in the same column."""
    if len(values) >= cells:
        return values
    return [values[cell * len(values) // cells] for cell in range(cells)]


def _axis(revisions: Iterable[RevisionInfo], now: float, cells: int) -> Content:
    """Marks where revisions were applied, with their numbers where those fit."""
    line = [" "] * cells
    for info in revisions:
        cell = round((1 - (now - info.time) / SPAN_SECONDS) * (cells - 1))
        label = f"↑{info.revision}"
        if cell < 0 or cell >= cells:
            continue
        start = min(cell, cells - len(label))
        free = all(char == " " for char in line[max(0, start - 1) : start + len(label) + 1])
        if free:
            line[start : start + len(label)] = label
        elif line[cell] == " ":
            line[cell] = "↑"
    start_label = pad(" -15 min", LABEL_WIDTH)
    return Content.assemble(paint(start_label, "dim"), paint("".join(line), "strong"), paint(" now", "dim"))
