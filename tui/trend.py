"""Fifteen minutes in four lines: rate, failures, p99, and the axis with marks of revisions. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from textual.content import Content

from control_plane.api.seen import Trend
from control_plane.api.types import RevisionInfo
from tui import words
from tui.theme import paint

LABEL = 10
"""Cells before the bars: what they are."""

TOP = 14
"""Cells after them: the newest figure and its unit."""

SPAN = 900.0
"""Seconds that are shown."""


def lines(trend: Trend, revisions: Iterable[RevisionInfo], now: float, width: int) -> list[Content]:
    """Four lines in `width` cells; `now` is when the newest step was told, in seconds since the epoch."""
    cells = max(8, width - LABEL - TOP - 2)
    steps = max(1, round(SPAN / trend.step))
    rate, failed = _whole(trend.rps, steps), _whole(trend.failures_per_s, steps)
    p99 = _whole(trend.p99_ms, steps)
    drawn: list[tuple[str, str, words.Tone, str]] = [
        ("rate", words.spark(_stretched(rate, cells), cells), "accent", f"{words.three(rate[-1])}/s"),
        (
            "failures",
            words.spark(_stretched(failed, cells), cells, max(rate), none=" "),
            "bad",
            f"{words.three(failed[-1])}/s",
        ),
        (
            "p99",
            words.spark(_stretched(p99, cells), cells, none=" "),
            "partial",
            f"{words.latency(p99[-1])} ms",
        ),
    ]
    said = [
        Content.assemble(
            paint(words.pad(f" {name}", LABEL), "dim"), paint(bars, tone), " ", words.pad(newest, TOP)
        )
        for name, bars, tone, newest in drawn
    ]
    return [*said, _axis(revisions, now, cells)]


def _whole(values: tuple[float, ...], steps: int) -> list[float]:
    """Values of the whole span, zero where nothing is known yet."""
    known = list(values[-steps:])
    return [0.0] * (steps - len(known)) + known


def _stretched(values: list[float], cells: int) -> list[float]:
    """At least as many values as cells, so that the bars begin where the axis does."""
    if len(values) >= cells:
        return values
    return [values[at * len(values) // cells] for at in range(cells)]


def _axis(revisions: Iterable[RevisionInfo], now: float, cells: int) -> Content:
    """Where revisions were applied: a mark and its number where that fits, the newest first."""
    line = [" "] * cells
    for info in revisions:
        at = round((1 - (now - info.time) / SPAN) * (cells - 1))
        label = f"▲{info.revision}"
        if at < 0 or at >= cells:
            continue
        start = min(at, cells - len(label))
        free = all(cell == " " for cell in line[max(0, start - 1) : start + len(label) + 1])
        if free:
            line[start : start + len(label)] = label
        elif line[at] == " ":
            line[at] = "▲"
    left = words.pad(" -15 min", LABEL)
    return Content.assemble(paint(left, "dim"), paint("".join(line), "strong"), paint(" now", "dim"))
