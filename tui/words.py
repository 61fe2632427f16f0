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

NOTHING = "–"
"""In place of a figure that there is none of."""

BARS = "▁▂▃▄▅▆▇"
"""Not to the full height, so that lines one below the other stay apart."""


class Said(NamedTuple):
    """A state as it is shown."""

    sign: str
    word: str
    tone: Tone

    def __str__(self) -> str:
        return f"{self.sign} {self.word}"


HEALTH: Mapping[str, Said] = {
    "healthy": Said("●", "healthy", "good"),
    "degraded": Said("◐", "degraded", "partial"),
    "unhealthy": Said("✖", "failing", "bad"),
    "unknown": Said("○", "no traffic", "off"),
    "draining": Said("◐", "draining", "partial"),
}
"""Of services, gateways and instances."""

BREAKER: Mapping[str, Said] = {
    "closed": Said("", "closed", "plain"),
    "partial": Said("◑", "partial", "partial"),
    "open": Said("⏻", "open", "bad"),
}

PROXY: Mapping[str, Said] = {
    "synced": Said("●", "synced", "good"),
    "pending": Said("◐", "pending", "partial"),
    "rejected": Said("✖", "rejected", "bad"),
    "disconnected": Said("○", "gone", "off"),
}

SEVERITY: Mapping[str, Said] = {
    "info": Said("●", "info", "good"),
    "warning": Said("◐", "warning", "partial"),
    "error": Said("✖", "error", "bad"),
}

UNKNOWN = Said("○", "unknown", "off")


def three(value: float) -> str:
    """A figure by three significant digits, as far as two decimals: 412, 12.4, 1.24, 0.31, 12.4k."""
    if value < 0:
        return f"-{three(-value)}"
    if value == 0:
        return "0"
    if value < 0.005:
        return "<0.01"
    for limit, unit in ((999_500_000, "G"), (999_500, "M"), (9_995, "k")):
        if value >= limit:
            divided = value / {"G": 1e9, "M": 1e6, "k": 1e3}[unit]
            return f"{_digits(divided)}{unit}"
    return _digits(value)


def _digits(value: float) -> str:
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def share(value: float) -> str:
    """A share (0..1) in per cent, never rounded up to a whole: one failure in a million is a failure."""
    if value >= 1:
        return "100"
    percent = value * 100
    return f"{min(percent, 99.99):.2f}" if percent >= 99.9 else f"{min(percent, 99.9):.1f}"


def failing(value: float) -> str:
    """A share (0..1) of failures in per cent, never rounded down to none."""
    return three(value * 100)


def latency(ms: float) -> str:
    """Milliseconds; none for 0."""
    return three(ms) if ms > 0 else NOTHING


def age(seconds: float) -> str:
    """How long ago, in one unit: 4 s, 3 min, 2 h, 5 d."""
    if seconds < 0:
        return "0 s"
    for limit, size, unit in ((100, 1, "s"), (100 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def clock(at: float) -> str:
    """Seconds since the epoch as the local time of day."""
    return datetime.fromtimestamp(at).astimezone().strftime("%H:%M:%S")


def size(count: float) -> str:
    """Bytes in MiB, as memory is counted."""
    return f"{three(count / 1024 / 1024)} MiB"


def clean(text: str) -> str:
    """A peer's text on one line without control characters, which a terminal could obey."""
    return "".join(c if c.isprintable() else " " for c in text)


def fit(text: str, width: int) -> str:
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
    cut = fit(text, width)
    space = " " * max(0, width - cell_len(cut))
    return space + cut if right else cut + space


def spark(values: Sequence[float], width: int, top: float = 0.0, *, none: str = BARS[0]) -> str:
    """Values as bars, one cell each, in exactly `width` cells; `top`: a full bar (0: the highest).

    `none` is drawn for 0; what is more than that is at least the lowest bar.
    """
    if width <= 0:
        return ""
    shown = _squeezed(values, width)
    highest = top or max(shown, default=0.0)
    last = len(BARS) - 1
    bars = (none if v <= 0 else BARS[min(last, round(v / highest * last))] for v in shown)
    return "".join(bars).rjust(width)


def _squeezed(values: Sequence[float], width: int) -> Sequence[float]:
    """As many values as there are cells: the highest of those that share one."""
    if len(values) <= width:
        return values
    edges = [round(n * len(values) / width) for n in range(width + 1)]
    return [max(values[a:b]) for a, b in pairwise(edges)]
