"""A percentage as people write it: at most two decimals, and never rounded to nothing or to everything."""

from __future__ import annotations

SMALLEST, LARGEST = 0.01, 99.99


def percent_text(percent: float) -> str:
    """`33.33 %`, `12.5 %`, `90 %`; what is not quite nothing or all: `<0.01 %`, `>99.99 %`."""
    if 0 < percent < SMALLEST:
        return f"<{SMALLEST:g} %"
    if LARGEST < percent < 100:
        return f">{LARGEST:g} %"
    return f"{percent:.2f}".rstrip("0").rstrip(".") + " %"
