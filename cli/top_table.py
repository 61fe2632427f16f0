"""The table of `mesh top` as lines of text: what is bad first, cut to a width and a height."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from meshwright.cli import output
from meshwright.cli.topology import BREAKER_LEVELS, GOOD, HEALTH_LEVELS, POOR

ServiceRow = Mapping[str, Any]
"""A ServiceRow as JSON."""

_HEALTH = ("unhealthy", "degraded", "healthy", "unknown")
_BREAKER = ("open", "partial", "closed")
_BARS = "▁▂▃▄▅▆▇█"

NAME_WIDTH, NAME_LEAST = 24, 8
TREND, TREND_WIDTH, TREND_LEAST = "RATE, 15 MIN", 30, 8
"""Columns of a name and a trend: at most, and what is left of them on a narrow screen."""


class TopColumn(NamedTuple):
    """A column of figures; `from_width`: columns the screen must have for it to be shown."""

    title: str
    width: int
    field: str
    min_screen_width: int = 0


COLUMNS = (
    TopColumn("RATE/S", 8, "rate"),
    TopColumn("SUCCESS", 9, "success"),
    TopColumn("P50", 7, "p50", 100),
    TopColumn("P95", 7, "p95", 100),
    TopColumn("P99", 7, "p99"),
    TopColumn("RETRY/S", 8, "retries", 72),
    TopColumn("BREAKER", 11, "breaker", 64),
    TopColumn("UP", 5, "up", 56),
    TopColumn("MTLS", 4, "mtls", 100),
)


def worst_first(rows: Sequence[ServiceRow]) -> list[ServiceRow]:
    """What is bad first, then what is busy; near figures follow the names, so that rows stand still."""

    def key(row: ServiceRow) -> tuple[int, int, float, int, str]:
        failing = round(1 - row["success"], 2) if row["rps"] > 0 else 0.0
        busy = math.frexp(row["rps"])[1] if row["rps"] >= 0.5 else -9
        health = _HEALTH.index(row["health"]) if row["health"] in _HEALTH else len(_HEALTH)
        breaker = _BREAKER.index(row["breaker"]) if row["breaker"] in _BREAKER else 0
        return (health, breaker, -failing, -busy, row["name"])

    return sorted(rows, key=key)


def lines(rows: Sequence[ServiceRow], width: int, height: int) -> list[str]:
    """The head and a line for each row, none longer than `width`; at most `height` of them in all."""
    shown = worst_first(rows)
    columns = [one for one in COLUMNS if width >= one.min_screen_width]
    figures = sum(one.width + 1 for one in columns)
    longest = max([len("SERVICE"), *(len(row["name"]) for row in shown)])
    trend = min(TREND_WIDTH, max(width - figures - min(longest, NAME_WIDTH) - 4, TREND_LEAST))
    name = min(longest, NAME_WIDTH, max(width - figures - trend - 4, NAME_LEAST))
    head = " ".join(["  " + "SERVICE".ljust(name), *(one.title.rjust(one.width) for one in columns)])
    found = [f"{head}  {TREND if trend >= len(TREND) else 'TREND'}"]
    room = len(shown) if len(shown) < height else max(height - 2, 0)
    found += [_line(row, name, columns, trend) for row in shown[:room]]
    if room < len(shown):
        found.append(f"  and {len(shown) - room} more: make the window higher")
    return [line[:width].rstrip() for line in found]


def _line(row: ServiceRow, name: int, columns: Sequence[TopColumn], trend: int) -> str:
    cells = _cells(row)
    sign = output.SIGNS[HEALTH_LEVELS.get(row["health"], "off")]
    figures = (cells[one.field].rjust(one.width) for one in columns)
    called = output.sanitize(_cut(row["name"], name)).ljust(name)
    return f"{sign} {' '.join([called, *figures])}  {sparkline(row['history']['rps'], trend)}"


def _cells(row: ServiceRow) -> dict[str, str]:
    busy = row["rps"] > 0
    return {
        "rate": _rate(row["rps"]),
        "success": _success(row["success"]) if busy else "-",
        "p50": _latency(row["p50_ms"]),
        "p95": _latency(row["p95_ms"]),
        "p99": _latency(row["p99_ms"]),
        "retries": _rate(row["retries_per_s"]),
        "breaker": _breaker(row),
        "up": "-" if row["role"] == "gateway" else f"{row['healthy']}/{row['instances']}",
        "mtls": "yes" if row["mtls"] else "no",
    }


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _rate(per_second: float) -> str:
    return "-" if per_second <= 0 else f"{per_second:.1f}" if per_second < 10_000 else f"{per_second:.0f}"


def _success(share: float) -> str:
    """Never rounded up to a whole, and with a sign where it is not good."""
    if share >= 1:
        return "100 %"
    words = f"{min(share * 100, 99.99):.2f}%"
    return words if share >= GOOD else f"{output.SIGNS['partial' if share >= POOR else 'bad']} {words}"


def _latency(ms: float) -> str:
    if ms <= 0:
        return "-"
    return f"{ms / 1000:.2f} s" if ms >= 1000 else f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"


def _breaker(row: ServiceRow) -> str:
    left_out = f" -{row['ejected']}" if row["ejected"] else ""
    if row["breaker"] == "closed":
        return f"closed{left_out}"
    return f"{output.SIGNS[BREAKER_LEVELS.get(row['breaker'], 'bad')]} {row['breaker']}{left_out}"


def sparkline(values: Sequence[float], width: int) -> str:
    """The course of values, the newest at the right end; blank where there was nothing.

    Each character is the mean of as many values as must share it.
    """
    if width <= 0 or not values:
        return " " * max(width, 0)
    share = math.ceil(len(values) / width)
    first = len(values) % share
    cuts = [0, *range(first or share, len(values) + 1, share)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(cuts)]
    highest = max(means)
    drawn = [_BARS[math.ceil(one / highest * 8) - 1] if one > 0 else " " for one in means]
    return "".join(drawn).rjust(width)
