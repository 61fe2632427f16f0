"""Values as Grafana writes them: its unit identifiers, with three significant digits. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

Scale = Sequence[tuple[float, str]]
"""Factors and their units, the largest first."""

_SCALES: Mapping[str, Scale] = {
    "ms": ((3_600_000, " h"), (60_000, " min"), (1000, " s"), (1, " ms"), (1e-3, " µs")),
    "s": ((86_400, " d"), (3600, " h"), (60, " min"), (1, " s"), (1e-3, " ms"), (1e-6, " µs")),
    "bytes": ((2**30, " GiB"), (2**20, " MiB"), (2**10, " KiB"), (1, " B")),
    "Bps": ((1e9, " GB/s"), (1e6, " MB/s"), (1e3, " kB/s"), (1, " B/s")),
    "short": ((1e9, " Bil"), (1e6, " Mil"), (1e3, " K"), (1, "")),
}
_SUFFIXES: Mapping[str, str] = {
    "reqps": " req/s",
    "ops": " ops/s",
    "cps": " c/s",
    "percent": "%",
    "none": "",
}


def format_value(value: float, unit: str, decimals: int | None = None) -> str:
    """A value with its unit. Raises KeyError for a unit that this module does not know."""
    if not math.isfinite(value):
        return str(value)
    if unit == "bool_yes_no":
        return "Yes" if value else "No"
    if unit == "percentunit":
        return f"{_digits(value * 100, decimals)}%"
    if unit in _SUFFIXES:
        return f"{_digits(value, decimals)}{_SUFFIXES[unit]}"
    scale = _SCALES[unit]
    factor, suffix = next((step for step in scale if abs(value) >= step[0]), scale[-1])
    if not value:
        suffix = next(name for size, name in scale if size == 1)
    return f"{_digits(value / factor, decimals)}{suffix}"


def _digits(value: float, decimals: int | None) -> str:
    if decimals is not None:
        return f"{value:.{decimals}f}"
    places = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    text = f"{value:.{min(places, 8)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
