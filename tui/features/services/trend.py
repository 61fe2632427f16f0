"""Fifteen minutes in four lines: rate, failures, p99, and the axis with marks of revisions. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from textual.content import Content

from meshwright.control_plane.api.models.base import RevisionInfo
from meshwright.control_plane.api.models.topology import ServiceTrend
from meshwright.tui import format
from meshwright.tui.theme import paint

LABEL_WIDTH = 10
"""Cells before the bars: what they are."""

VALUE_WIDTH = 14
"""Cells after them: the newest figure and its unit."""

SPAN_SECONDS = 900.0
"""Seconds that are shown."""


def trend_lines(
    trend: ServiceTrend, revisions: Iterable[RevisionInfo], now: float, width: int
) -> list[Content]:
    """Four lines in `width` cells; `now` is when the newest step was told, in seconds since the epoch."""
    cells = max(8, width - LABEL_WIDTH - VALUE_WIDTH - 2)
    steps = max(1, round(SPAN_SECONDS / trend.step))
    rate, failed = _pad_history(trend.rps, steps), _pad_history(trend.failures_per_s, steps)
    p99 = _pad_history(trend.p99_ms, steps)
    drawn: list[tuple[str, str, format.Tone, str]] = [
        (
            "rate",
            format.sparkline(_stretch(rate, cells), cells),
            "accent",
            f"{format.format_number(rate[-1])}/s",
        ),
        (
            "failures",
            format.sparkline(_stretch(failed, cells), cells, max(rate), zero=" "),
            "bad",
            f"{format.format_number(failed[-1])}/s",
        ),
        (
            "p99",
            format.sparkline(_stretch(p99, cells), cells, zero=" "),
            "partial",
            f"{format.format_latency(p99[-1])} ms",
        ),
    ]
    said = [
        Content.assemble(
            paint(format.pad(f" {name}", LABEL_WIDTH), "dim"),
            paint(bars, tone),
            " ",
            format.pad(newest, VALUE_WIDTH),
        )
        for name, bars, tone, newest in drawn
    ]
    return [*said, _axis(revisions, now, cells)]


def _pad_history(values: tuple[float, ...], steps: int) -> list[float]:
    """Values of the whole span, zero where nothing is known yet."""
    known = list(values[-steps:])
    return [0.0] * (steps - len(known)) + known


def _stretch(values: list[float], cells: int) -> list[float]:
    """At least as many values as cells, so that the bars begin where the axis does."""
    if len(values) >= cells:
        return values
    return [values[at * len(values) // cells] for at in range(cells)]


def _axis(revisions: Iterable[RevisionInfo], now: float, cells: int) -> Content:
    """Where revisions were applied: a mark and its number where that fits, the newest first."""
    line = [" "] * cells
    for info in revisions:
        at = round((1 - (now - info.time) / SPAN_SECONDS) * (cells - 1))
        label = f"▲{info.revision}"
        if at < 0 or at >= cells:
            continue
        start = min(at, cells - len(label))
        free = all(cell == " " for cell in line[max(0, start - 1) : start + len(label) + 1])
        if free:
            line[start : start + len(label)] = label
        elif line[at] == " ":
            line[at] = "▲"
    left = format.pad(" -15 min", LABEL_WIDTH)
    return Content.assemble(paint(left, "dim"), paint("".join(line), "strong"), paint(" now", "dim"))
