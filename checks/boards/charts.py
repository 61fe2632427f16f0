"""Charts as SVG: lines and areas over time, a heat map, and states over time. Pure."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from checks.boards.prometheus import Series
from checks.boards.units import format_value

PALETTE = (
    "#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#705da0",
    "#37872d", "#fade2a", "#447ebc", "#c15c17", "#890f02", "#0a437c", "#6d1f62", "#584477",
)  # fmt: skip
"""Colours of series in turn, as in Grafana's classic palette."""

COLOURS: Mapping[str, str] = {
    "green": "#73bf69", "orange": "#ff9830", "red": "#f2495c", "blue": "#5794f2", "purple": "#b877d9",
    "yellow": "#fade2a", "gray": "#8e8e8e", "grey": "#8e8e8e",
}  # fmt: skip
LEFT, BOTTOM, TOP = 70, 18, 6
"""Pixels for the axes."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The size of a chart in pixels, and its range of time in seconds."""

    width: int
    height: int
    start: float
    end: float

    def x(self, seconds: float) -> float:
        """The place of a time."""
        return LEFT + (self.width - LEFT - 6) * (seconds - self.start) / (self.end - self.start)

    def y(self, share: float) -> float:
        """The place of a share of the highest value."""
        return TOP + (self.height - TOP - BOTTOM) * (1 - share)

    def svg(self, parts: Sequence[str]) -> str:
        """The chart of its parts."""
        return f'<svg width="{self.width}" height="{self.height}">{"".join(parts)}</svg>'

    def time_axis(self) -> Iterator[str]:
        """Labels of five times."""
        for index in range(5):
            at = self.start + (self.end - self.start) * (index + 0.5) / 5
            text = time.strftime("%H:%M:%S", time.localtime(at))
            yield f'<text x="{self.x(at):.0f}" y="{self.height - 4}" text-anchor="middle">{text}</text>'


def colour_at(value: float, defaults: Mapping[str, Any]) -> str:
    """The colour of a value by its thresholds."""
    steps = defaults.get("thresholds", {}).get("steps", ())
    passed = [step["color"] for step in steps if step["value"] is None or value >= step["value"]]
    return COLOURS.get(passed[-1] if passed else "blue", passed[-1] if passed else "blue")


def series_colours(names: Sequence[str], panel: Mapping[str, Any]) -> list[str]:
    """The colours of series: fixed ones by name, else those of the palette in turn."""
    fixed = {
        override["matcher"]["options"]: item["value"]["fixedColor"]
        for override in panel["fieldConfig"].get("overrides", ())
        for item in override["properties"]
        if item["id"] == "color"
    }
    return [
        COLOURS[fixed[name]] if name in fixed else PALETTE[index % len(PALETTE)]
        for index, name in enumerate(names)
    ]


def time_series(frame: Frame, results: Sequence[tuple[str, Series]], panel: Mapping[str, Any]) -> str:
    """Lines, or stacked areas, over an axis that begins at the panel's minimum."""
    series = [each for _, each in results]
    colours = series_colours([name for name, _ in results], panel)
    defaults = panel["fieldConfig"]["defaults"]
    custom = defaults.get("custom", {})
    stacked = custom.get("stacking", {}).get("mode") == "normal"
    values = _stacked(series) if stacked else [dict(each.points) for each in series]
    highest = max((value for line in values for value in line.values()), default=0.0)
    low, high = defaults.get("min", 0), defaults.get("max") or _nice(highest)
    parts = list(frame.time_axis())
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y, text = frame.y(share), format_value(low + (high - low) * share, defaults["unit"])
        parts.append(f'<line x1="{LEFT}" x2="{frame.width - 6}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{escape(text)}</text>')
    if custom.get("thresholdsStyle"):
        parts += _threshold_lines(frame, defaults, low, high)
    for index, line in reversed(list(enumerate(values))):
        colour = colours[index]
        places = [(frame.x(at), frame.y((value - low) / (high - low))) for at, value in sorted(line.items())]
        if not places:
            continue
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        base = frame.y(0)
        area = f"{places[0][0]:.1f},{base:.1f} {path} {places[-1][0]:.1f},{base:.1f}"
        opacity = custom.get("fillOpacity", 0) / 100
        parts.append(f'<polygon points="{area}" fill="{colour}" opacity="{opacity}"/>')
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    return frame.svg(parts)


def _stacked(series: Sequence[Series]) -> list[dict[float, float]]:
    sums: dict[float, float] = {}
    lines = []
    for each in series:
        line = {}
        for at, value in each.points:
            sums[at] = line[at] = sums.get(at, 0.0) + value
        lines.append(line)
    return lines


def _nice(value: float) -> float:
    """The top of an axis: the next of 1, 2, 5 times a power of ten; 1 without a value."""
    if value <= 0:
        return 1.0
    power = 10 ** math.floor(math.log10(value))
    return float(
        next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= value * 0.999)
    )


def _threshold_lines(frame: Frame, defaults: Mapping[str, Any], low: float, high: float) -> Iterator[str]:
    for step in defaults["thresholds"]["steps"]:
        if step["value"] is not None and low < step["value"] <= high:
            y = frame.y((step["value"] - low) / (high - low))
            yield (
                f'<line x1="{LEFT}" x2="{frame.width - 6}" y1="{y:.1f}" y2="{y:.1f}" '
                f'stroke="{COLOURS[step["color"]]}" stroke-dasharray="6 4"/>'
            )


def heat_map(frame: Frame, series: Sequence[Series], unit: str) -> str:
    """Cumulative buckets as rows by their upper bounds, darker where more."""
    by_bound = {float(each.labels["le"]): dict(each.points) for each in series}
    bounds = sorted(by_bound)
    cells: dict[tuple[int, float], float] = {}
    for row, bound in enumerate(bounds):
        below = by_bound[bounds[row - 1]] if row else {}
        for at, value in by_bound[bound].items():
            cells[row, at] = max(0.0, value - below.get(at, 0.0))
    most = max(cells.values(), default=0.0) or 1.0
    times = sorted({at for _, at in cells})
    width = (frame.width - LEFT) / max(1, len(times))
    height = (frame.height - TOP - BOTTOM) / max(1, len(bounds))
    parts = list(frame.time_axis())
    for row, bound in enumerate(bounds):
        y = frame.y((row + 1) / len(bounds))
        text = "+Inf" if math.isinf(bound) else format_value(bound, unit)
        if row % max(1, len(bounds) // 10) == 0:
            parts.append(f'<text x="{LEFT - 5}" y="{y + height:.1f}" text-anchor="end">{text}</text>')
    for (row, at), value in cells.items():
        if value:
            y = frame.y((row + 1) / len(bounds))
            parts.append(
                f'<rect x="{frame.x(at):.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
                f'fill="#ff780a" opacity="{0.15 + 0.85 * value / most:.2f}"/>'
            )
    return frame.svg(parts)


def state_timeline(frame: Frame, rows: Sequence[tuple[str, Series]], panel: Mapping[str, Any]) -> str:
    """A row of coloured spans for each series."""
    options = panel["fieldConfig"]["defaults"]["mappings"][0]["options"]
    height = (frame.height - TOP - BOTTOM) / max(1, len(rows))
    parts = list(frame.time_axis())
    for index, (name, series) in enumerate(rows):
        y = TOP + index * height
        if height >= 8 or index % math.ceil(8 / height) == 0:
            parts.append(
                f'<text x="{LEFT - 5}" y="{y + height / 2 + 4:.1f}" text-anchor="end">{escape(name)}</text>'
            )
        for (at, value), following in zip(series.points, [*series.points[1:], (frame.end, 0)], strict=True):
            state = options.get(f"{value:g}", {"color": "gray"})
            width = frame.x(following[0]) - frame.x(at)
            parts.append(
                f'<rect x="{frame.x(at):.1f}" y="{y + 1:.1f}" width="{width:.1f}" '
                f'height="{max(1, height - 2):.1f}" fill="{COLOURS.get(state["color"], state["color"])}"/>'
            )
    return frame.svg(parts)
