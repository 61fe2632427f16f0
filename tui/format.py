"""Figures and states as text: three significant digits, ages, symbols, and text cut to a width in cells.

Pure. Every state has a symbol and a word; the tone says which colour a theme may add.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Literal, NamedTuple

from rich.cells import cell_len, chop_cells

from meshwright.control_plane.api import signs
from meshwright.control_plane.api.models.policies import PolicyState
from meshwright.control_plane.api.models.topology import HealthThresholds

Tone = Literal["plain", "good", "partial", "bad", "off", "dim", "strong", "accent"]

NO_VALUE = "–"
"""Shown where there is no figure."""

BARS = "▁▂▃▄▅▆▇"
"""Without the full block, so that sparklines on adjacent lines stay apart."""


class StatusLabel(NamedTuple):
    """How a state is shown."""

    symbol: str
    text: str
    tone: Tone

    def __str__(self) -> str:
        return f"{self.symbol} {self.text}"


HEALTH_LABELS: Mapping[str, StatusLabel] = {
    "healthy": StatusLabel(signs.GOOD, "healthy", "good"),
    "degraded": StatusLabel(signs.PARTIAL, "degraded", "partial"),
    "unhealthy": StatusLabel(signs.BAD, "unhealthy", "bad"),
    "unknown": StatusLabel(signs.OFF, "unknown", "off"),
    "idle": StatusLabel(signs.OFF, "idle", "off"),
    "draining": StatusLabel(signs.PARTIAL, "draining", "partial"),
}
"""Of services, gateways, versions, edges and instances."""

BREAKER_LABELS: Mapping[str, StatusLabel] = {
    "none": StatusLabel("", NO_VALUE, "dim"),
    "closed": StatusLabel("", "closed", "plain"),
    "half-open": StatusLabel(signs.ON_TRIAL, "half-open", "partial"),
    "partial": StatusLabel(signs.PARTLY_BLOCKED, "partial", "partial"),
    "open": StatusLabel(signs.BLOCKED, "open", "bad"),
}

PROXY_LABELS: Mapping[str, StatusLabel] = {
    "synced": StatusLabel(signs.GOOD, "synced", "good"),
    "pending": StatusLabel(signs.PARTIAL, "pending", "partial"),
    "rejected": StatusLabel(signs.BAD, "rejected", "bad"),
    "disconnected": StatusLabel(signs.OFF, "disconnected", "off"),
}

POLICY_LABELS: Mapping[PolicyState, StatusLabel] = {
    "rejected": StatusLabel(signs.BAD, "rejected", "bad"),
    "conflicted": StatusLabel(signs.PARTIAL, "conflicted", "partial"),
    "target-not-found": StatusLabel(signs.PARTIAL, "target not found", "partial"),
    "no-effect": StatusLabel(signs.PARTIAL, "no effect", "partial"),
    "partial": StatusLabel(signs.PARTIAL, "partial", "partial"),
    "pending": StatusLabel(signs.PARTIAL, "pending", "partial"),
    "unused": StatusLabel(signs.OFF, "unused", "off"),
    "programmed": StatusLabel(signs.GOOD, "programmed", "good"),
    "unknown": StatusLabel(signs.OFF, "unknown", "off"),
}

SEVERITY_LABELS: Mapping[str, StatusLabel] = {
    "info": StatusLabel(signs.GOOD, "info", "good"),
    "warning": StatusLabel(signs.PARTIAL, "warning", "partial"),
    "error": StatusLabel(signs.BAD, "error", "bad"),
}

UNKNOWN_LABEL = StatusLabel(signs.OFF, "unknown", "off")


def format_number(value: float) -> str:
    """Three significant digits, at most two decimals: 412, 12.4, 1.24, 0.31, 12.4k."""
    if value < 0:
        return f"-{format_number(-value)}"
    if value == 0:
        return "0"
    if value < 0.005:
        return "<0.01"
    for limit, unit, divisor in ((999_500_000, "G", 1e9), (999_500, "M", 1e6), (9_995, "k", 1e3)):
        if value >= limit:
            return f"{_three_digits(value / divisor)}{unit}"
    return _three_digits(value)


def format_count(count: int) -> str:
    """A count in full up to 99,999, then three significant digits: 1203, 412k."""
    return str(count) if count < 100_000 else format_number(count)


def _three_digits(value: float) -> str:
    if value >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def format_percent(share: float) -> str:
    """A success rate (0..1) in per cent. Only 1 becomes 100: one failure in a million is a failure."""
    if share >= 1:
        return "100"
    percent = share * 100
    return f"{min(percent, 99.99):.2f}" if percent >= 99.9 else f"{min(percent, 99.9):.1f}"


def format_failure_percent(share: float) -> str:
    """A failure rate (0..1) in per cent. Only 0 becomes 0."""
    return format_number(share * 100)


def format_latency(ms: float) -> str:
    """Milliseconds for a column of them, in full up to 99,999; a dash for 0, which means no requests."""
    if ms <= 0:
        return NO_VALUE
    return f"{ms:.0f}" if 9_995 <= ms < 99_999.5 else format_number(ms)


def format_milliseconds(ms: float) -> str:
    """A duration with its unit: 0.31 ms, 502 ms, 1.93 s, 90.0 s."""
    return f"{format_number(ms)} ms" if ms < 999.5 else f"{format_number(ms / 1000)} s"


def format_age(seconds: float) -> str:
    """A duration in one unit: 4 s, 3 min, 2 h, 5 d."""
    if seconds < 0:
        return "0 s"
    for limit, divisor, unit in ((100, 1, "s"), (100 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{seconds / divisor:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def format_time(timestamp: float) -> str:
    """Seconds since the epoch as local time of day."""
    return datetime.fromtimestamp(timestamp).astimezone().strftime("%H:%M:%S")


def format_mib(size: float) -> str:
    """Bytes in MiB."""
    return f"{format_number(size / 1024 / 1024)} MiB"


def sanitize(text: str) -> str:
    """Text from the mesh on one line, without control characters that a terminal would interpret."""
    return "".join(char if char.isprintable() else " " for char in text)


def truncate(text: str, width: int) -> str:
    """Text cut to `width` cells, with an ellipsis where something was cut."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return text
    if width == 1:
        return "…"
    return f"{chop_cells(text, width - 1)[0]}…"


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Text cut or filled up to `width` cells; `right`: aligned to the right."""
    cut = truncate(text, width)
    space = " " * max(0, width - cell_len(cut))
    return space + cut if right else cut + space


def sparkline(values: Sequence[float], width: int, maximum: float = 0.0, *, zero: str = BARS[0]) -> str:
    """Values as bars of one cell each, `width` cells in all. `maximum`: the full bar (0: the highest value).

    `zero` is drawn for 0; any other value gets at least the lowest bar.
    """
    if width <= 0:
        return ""
    shown = _downsample(values, width)
    highest = maximum or max(shown, default=0.0)
    last = len(BARS) - 1
    bars = (zero if value <= 0 else BARS[min(last, round(value / highest * last))] for value in shown)
    return "".join(bars).rjust(width)


def _downsample(values: Sequence[float], width: int) -> Sequence[float]:
    """At most `width` values: the maximum of those that share a cell."""
    if len(values) <= width:
        return values
    edges = [round(n * len(values) / width) for n in range(width + 1)]
    return [max(values[start:end]) for start, end in pairwise(edges)]


def success_tone(success: float, thresholds: HealthThresholds) -> Tone:
    """The tone of a success rate (0..1), by the control plane's thresholds."""
    if success < thresholds.unhealthy_below:
        return "bad"
    return "partial" if success < thresholds.degraded_below else "plain"
