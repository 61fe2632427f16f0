"""The table of `mesh top` as a Rich table: unhealthy services first, columns by the width of the screen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from meshwright.cli.output import SIGNS, sanitize
from meshwright.cli.status import BREAKER_LEVELS, HEALTH_LEVELS
from meshwright.control_plane.api import signs

Service = Mapping[str, Any]
"""The JSON of a ServiceSummary."""

_HEALTH_ORDER = ("unhealthy", "degraded", "healthy", "unknown", "idle")
_BREAKER_ORDER = ("open", "partial", "half-open", "closed", "none")
_BARS = "▁▂▃▄▅▆▇█"
_STYLES = {signs.GOOD: "green", signs.PARTIAL: "yellow", signs.BAD: "red", signs.OFF: "bright_black"}

SIGN_WIDTH = 2
"""A sign and a space before the name."""

MAX_NAME_WIDTH, MIN_NAME_WIDTH = 24, 8
TREND_TITLE, MAX_TREND_WIDTH, MIN_TREND_WIDTH = "RPS, 15 MIN", 30, 8


class TopColumn(NamedTuple):
    """A column of numbers. It is hidden on screens narrower than `min_screen_width`."""

    title: str
    width: int
    field: str
    min_screen_width: int = 0


COLUMNS = (
    TopColumn("RPS", 8, "rps"),
    TopColumn("SUCCESS", 9, "success"),
    TopColumn("P50", 7, "p50", 100),
    TopColumn("P95", 7, "p95", 100),
    TopColumn("P99", 7, "p99"),
    TopColumn("RETRIES/S", 9, "retries", 72),
    TopColumn("BREAKER", 11, "breaker", 64),
    TopColumn("READY", 5, "ready", 56),
    TopColumn("MTLS", 4, "mtls", 100),
)


def worst_first(services: Sequence[Service]) -> list[Service]:
    """Unhealthy services first, then busy ones. Rounded keys keep rows in place while values vary."""

    def key(service: Service) -> tuple[int, int, float, int, str]:
        failures = round(1 - service["success"], 2) if service["rps"] > 0 else 0.0
        load = math.frexp(service["rps"])[1] if service["rps"] >= 0.5 else -9
        health = _rank(_HEALTH_ORDER, service["health"], len(_HEALTH_ORDER))
        breaker = _rank(_BREAKER_ORDER, service["breaker"], 0)
        return (health, breaker, -failures, -load, service["name"])

    return sorted(services, key=key)


def _rank(order: tuple[str, ...], value: str, default: int) -> int:
    return order.index(value) if value in order else default


def service_table(response: Mapping[str, Any], width: int, height: int) -> RenderableType:
    """The services of a ServiceList in at most `height` lines, header included."""
    services = worst_first(response["services"])
    columns = [column for column in COLUMNS if width >= column.min_screen_width]
    name_width, trend_width = _flexible_widths(services, columns, width)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="", show_edge=False)
    table.add_column("  SERVICE", width=SIGN_WIDTH + name_width, no_wrap=True, overflow="ellipsis")
    for column in columns:
        table.add_column(column.title, width=column.width, justify="right", no_wrap=True)
    title = TREND_TITLE if trend_width >= len(TREND_TITLE) else "TREND"
    table.add_column(title, width=trend_width, no_wrap=True, overflow="crop")
    visible = len(services) if len(services) < height else max(height - 2, 0)
    for service in services[:visible]:
        cells = _cells(service)
        name = f"{SIGNS[HEALTH_LEVELS.get(service['health'], 'off')]} {sanitize(service['name'])}"
        trend = sparkline(service["history"]["rps"], trend_width)
        table.add_row(*(signed(cell) for cell in (name, *(cells[column.field] for column in columns), trend)))
    if visible == len(services):
        return table
    return Group(table, Text(f"  and {len(services) - visible} more: enlarge the window", no_wrap=True))


def _flexible_widths(
    services: Sequence[Service], columns: Sequence[TopColumn], width: int
) -> tuple[int, int]:
    """Widths of the name and of the trend, which share what the columns of numbers leave."""
    free = width - SIGN_WIDTH - 1 - sum(column.width + 1 for column in columns)
    longest = max([len("SERVICE"), *(len(service["name"]) for service in services)])
    trend = min(MAX_TREND_WIDTH, max(free - min(longest, MAX_NAME_WIDTH), MIN_TREND_WIDTH))
    name = min(longest, MAX_NAME_WIDTH, max(free - trend, MIN_NAME_WIDTH))
    return name, trend


def signed(text: str) -> Text:
    """A text whose signs have their colours."""
    line = Text(text, no_wrap=True)
    for index, character in enumerate(text):
        if style := _STYLES.get(character):
            line.stylize(style, index, index + 1)
    return line


def _cells(service: Service) -> dict[str, str]:
    return {
        "rps": _rate(service["rps"]),
        "success": _success(service["success"]) if service["rps"] > 0 else "-",
        "p50": _latency(service["p50_ms"]),
        "p95": _latency(service["p95_ms"]),
        "p99": _latency(service["p99_ms"]),
        "retries": _rate(service["retries_per_s"]),
        "breaker": _breaker(service),
        "ready": "-" if service["role"] != "service" else f"{service['healthy']}/{service['instances']}",
        "mtls": "yes" if service["mtls"] else "no",
    }


def _rate(per_second: float) -> str:
    return "-" if per_second <= 0 else f"{per_second:.1f}" if per_second < 10_000 else f"{per_second:.0f}"


def _success(ratio: float) -> str:
    """A percentage, never rounded up to 100."""
    return "100 %" if ratio >= 1 else f"{min(ratio * 100, 99.99):.2f}%"


def _latency(ms: float) -> str:
    if ms <= 0:
        return "-"
    return f"{ms / 1000:.2f} s" if ms >= 1000 else f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"


def _breaker(service: Service) -> str:
    """The state of the circuit breaker; `-2` behind it: two instances are ejected; `-` alone: none."""
    if service["breaker"] == "none":
        return "-"
    ejected = f" -{service['ejected']}" if service["ejected"] else ""
    if service["breaker"] == "closed":
        return f"closed{ejected}"
    return f"{SIGNS[BREAKER_LEVELS.get(service['breaker'], 'bad')]} {service['breaker']}{ejected}"


def sparkline(values: Sequence[float], width: int) -> str:
    """A bar for each value, the newest at the right end; blank for zero.

    If there are more values than columns, each bar is the mean of several.
    """
    if width <= 0 or not values:
        return " " * max(width, 0)
    per_bar = math.ceil(len(values) / width)
    first = len(values) % per_bar
    cuts = [0, *range(first or per_bar, len(values) + 1, per_bar)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(cuts)]
    highest = max(means)
    bars = [_BARS[math.ceil(mean / highest * 8) - 1] if mean > 0 else " " for mean in means]
    return "".join(bars).rjust(width)
