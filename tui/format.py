"""Figures and states as words: three significant digits, ages, signs, and text cut by its width in cells.

Pure. A state is always a sign and a word; the tone says which colour a theme may add.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Literal, NamedTuple

from rich.cells import cell_len, chop_cells

Tone = Literal["plain", "good", "partial", "bad", "off", "dim", "strong", "accent"]

NO_VALUE = "–"
"""In place of a figure that there is none of."""

BARS = "▁▂▃▄▅▆▇"
"""Not to the full height, so that lines one below the other stay apart."""


class StatusLabel(NamedTuple):
    """A state as it is shown."""

    symbol: str
    text: str
    tone: Tone

    def __str__(self) -> str:
        return f"{self.symbol} {self.text}"


HEALTH_LABELS: Mapping[str, StatusLabel] = {
    "healthy": StatusLabel("●", "healthy", "good"),
    "degraded": StatusLabel("◐", "degraded", "partial"),
    "unhealthy": StatusLabel("✖", "failing", "bad"),
    "unknown": StatusLabel("○", "no traffic", "off"),
    "draining": StatusLabel("◐", "draining", "partial"),
}
"""Of services, gateways and instances."""

BREAKER_LABELS: Mapping[str, StatusLabel] = {
    "closed": StatusLabel("", "closed", "plain"),
    "partial": StatusLabel("◑", "partial", "partial"),
    "open": StatusLabel("⏻", "open", "bad"),
}

PROXY_LABELS: Mapping[str, StatusLabel] = {
    "synced": StatusLabel("●", "synced", "good"),
    "pending": StatusLabel("◐", "pending", "partial"),
    "rejected": StatusLabel("✖", "rejected", "bad"),
    "disconnected": StatusLabel("○", "gone", "off"),
}

SEVERITY_LABELS: Mapping[str, StatusLabel] = {
    "info": StatusLabel("●", "info", "good"),
    "warning": StatusLabel("◐", "warning", "partial"),
    "error": StatusLabel("✖", "error", "bad"),
}

UNKNOWN_LABEL = StatusLabel("○", "unknown", "off")


def format_number(value: float) -> str:
    """A figure by three significant digits, as far as two decimals: 412, 12.4, 1.24, 0.31, 12.4k."""
    if value < 0:
        return f"-{format_number(-value)}"
    if value == 0:
        return "0"
    if value < 0.005:
        return "<0.01"
    for limit, unit in ((999_500_000, "G"), (999_500, "M"), (9_995, "k")):
        if value >= limit:
            divided = value / {"G": 1e9, "M": 1e6, "k": 1e3}[unit]
            return f"{_three_digits(divided)}{unit}"
    return _three_digits(value)


def _three_digits(value: float) -> str:
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def format_percent(value: float) -> str:
    """A share (0..1) in per cent, never rounded up to a whole: one failure in a million is a failure."""
    if value >= 1:
        return "100"
    percent = value * 100
    return f"{min(percent, 99.99):.2f}" if percent >= 99.9 else f"{min(percent, 99.9):.1f}"


def format_failure_percent(value: float) -> str:
    """A share (0..1) of failures in per cent, never rounded down to none."""
    return format_number(value * 100)


def format_latency(ms: float) -> str:
    """Milliseconds; none for 0."""
    return format_number(ms) if ms > 0 else NO_VALUE


def format_age(seconds: float) -> str:
    """How long ago, in one unit: 4 s, 3 min, 2 h, 5 d."""
    if seconds < 0:
        return "0 s"
    for limit, size, unit in ((100, 1, "s"), (100 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def format_time(at: float) -> str:
    """Seconds since the epoch as the local time of day."""
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")


def format_mib(count: float) -> str:
    """Bytes in MiB, as memory is counted."""
    return f"{format_number(count / 1024 / 1024)} MiB"


def sanitize(text: str) -> str:
    """A peer's text on one line without control characters, which a terminal could obey."""
    return "".join(c if c.isprintable() else " " for c in text)


def truncate(text: str, width: int) -> str:
    """Text in at most `width` cells; what is cut ends in an ellipsis."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return text
    if width == 1:
        return "…"
    return f"{chop_cells(text, width - 1)[0]}…"


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Text in exactly `width` cells; `right`: against the right edge."""
    cut = truncate(text, width)
    space = " " * max(0, width - cell_len(cut))
    return space + cut if right else cut + space


def sparkline(values: Sequence[float], width: int, maximum: float = 0.0, *, zero: str = BARS[0]) -> str:
    """Values as bars, one cell each, in exactly `width` cells; `top`: a full bar (0: the highest).

    `none` is drawn for 0; what is more than that is at least the lowest bar.
    """
    if width <= 0:
        return ""
    shown = _downsample(values, width)
    highest = maximum or max(shown, default=0.0)
    last = len(BARS) - 1
    bars = (zero if v <= 0 else BARS[min(last, round(v / highest * last))] for v in shown)
    return "".join(bars).rjust(width)


def _downsample(values: Sequence[float], width: int) -> Sequence[float]:
    """As many values as there are cells: the highest of those that share one."""
    if len(values) <= width:
        return values
    edges = [round(n * len(values) / width) for n in range(width + 1)]
    return [max(values[a:b]) for a, b in pairwise(edges)]
