"""Panels as HTML: what Grafana would make of the data of their queries."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from checks.boards import charts
from checks.boards.charts import Frame, colour_at, series_colours
from checks.boards.prometheus import Prometheus, Series, legend
from checks.boards.units import format_value

Panel = Mapping[str, Any]
Fill = Callable[[str], str]
"""Replaces Grafana's variables in an expression."""

LEGEND_HEIGHT = 34
"""Pixels for the names of series below a chart."""

NO_DATA = '<div class="empty">No data</div>'
ELSEWHERE = '<div class="note">its data source is no Prometheus</div>'


def panel_body(panel: Panel, source: Prometheus, fill: Fill, size: tuple[int, int]) -> str:
    """The inside of a panel; `NO_DATA` if its queries have no result."""
    targets = [target for target in panel["targets"] if "expr" in target]
    if not targets:
        return ELSEWHERE
    if panel["type"] in {"table", "nodeGraph"}:
        return _table(panel, [source.instant(fill(target["expr"])) for target in targets])
    results = [
        (legend(target.get("legendFormat", ""), series), series)
        for target in targets
        for series in source.range(fill(target["expr"]))
    ]
    if not results:
        return NO_DATA
    frame = Frame(size[0], size[1] - LEGEND_HEIGHT, source.start, source.end)
    series = [each for _, each in results]
    match panel["type"]:
        case "stat":
            return _stat(panel, results, Frame(size[0], size[1] - 44, source.start, source.end))
        case "heatmap":
            return charts.heat_map(frame, series, panel["fieldConfig"]["defaults"]["unit"])
        case "state-timeline":
            return charts.state_timeline(frame, results, panel)
        case "timeseries":
            return charts.time_series(frame, results, panel) + _legend(panel, results)
        case other:
            return f'<div class="empty">{escape(other)}: no renderer</div>'


def _legend(panel: Panel, results: Sequence[tuple[str, Series]]) -> str:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    colours = series_colours([name for name, _ in results], panel)
    names = [
        f'<span><i style="background:{colour}"></i>{escape(name) or "(no name)"} '
        f"<b>{escape(format_value(series.last, unit))}</b></span>"
        for colour, (name, series) in zip(colours, results, strict=True)
    ]
    return f'<div class="legend">{"".join(names)}</div>'


def _stat(panel: Panel, results: Sequence[tuple[str, Series]], frame: Frame) -> str:
    defaults = panel["fieldConfig"]["defaults"]
    values = []
    for name, series in results[:3]:
        text = format_value(series.last, defaults["unit"], defaults.get("decimals"))
        words = f"<small>{escape(name)} </small>" if len(results) > 1 else ""
        colour = colour_at(series.last, defaults)
        values.append(f'<span style="color:{colour}">{words}{escape(text)}</span>')
    if len(results) > 3:
        values.append(f"<small>and {len(results) - 3} more</small>")
    spark = _spark(frame, results[0][1], colour_at(results[0][1].last, defaults)) if len(results) == 1 else ""
    return f'<div class="stat">{" ".join(values)}</div>{spark}'


def _spark(frame: Frame, series: Series, colour: str) -> str:
    high = max(value for _, value in series.points) or 1.0
    span = frame.end - frame.start
    points = " ".join(
        f"{frame.width * (at - frame.start) / span:.1f},{frame.height * (1 - max(0.0, value) / high):.1f}"
        for at, value in series.points
    )
    return (
        f'<svg width="{frame.width}" height="{frame.height}"><polyline points="{points}" fill="none" '
        f'stroke="{colour}" opacity="0.6"/></svg>'
    )


def _table(panel: Panel, results: Sequence[Sequence[Series]]) -> str:
    """The results joined by their labels, then ordered: Grafana's `merge` and `organize`."""
    letters = [target["refId"] for target in panel["targets"]]
    rows: dict[str, dict[str, Any]] = {}
    for letter, series in zip(letters, results, strict=True):
        column = f"Value #{letter}" if len(letters) > 1 else "Value"
        for each in series:
            labels = {name: value for name, value in each.labels.items() if name != "__name__"}
            key = labels["id"] if panel["type"] == "nodeGraph" else str(sorted(labels.items()))
            rows.setdefault(key, {}).update({**labels, column: each.last})
    if not rows:
        return NO_DATA
    names, order = _columns(panel, rows.values())
    units = {
        override["matcher"]["options"]: {item["id"]: item["value"] for item in override["properties"]}
        for override in panel["fieldConfig"].get("overrides", ())
    }
    sort = [item["displayName"] for item in panel.get("options", {}).get("sortBy", ())]
    first = next((raw for raw in order if names.get(raw, raw) in sort), order[0])
    ordered = sorted(rows.values(), key=lambda row: (isinstance(row.get(first), str), _rank(row.get(first))))
    head = "".join(f"<th>{escape(names.get(raw, raw))}</th>" for raw in order)
    body = "".join(
        "<tr>"
        + "".join(_cell(row.get(raw), units.get(names.get(raw, raw), {}), panel) for raw in order)
        + "</tr>"
        for row in ordered
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _rank(value: object) -> Any:
    """Numbers the highest first, then what is empty; words by the alphabet."""
    return value if isinstance(value, str) else -value if isinstance(value, int | float) else float("inf")


def _columns(panel: Panel, rows: Iterable[Mapping[str, Any]]) -> tuple[dict[str, str], list[str]]:
    """The headings of columns by their names in the data, and the names in order."""
    options: Mapping[str, Any] = next(
        (each["options"] for each in panel.get("transformations", ()) if each["id"] == "organize"), {}
    )
    excluded = options.get("excludeByName", {}) if panel["type"] == "table" else {}
    present = dict.fromkeys(name for row in rows for name in row)
    places = options.get("indexByName", {})
    order = [name for name in present if not excluded.get(name)]
    return options.get("renameByName", {}), sorted(order, key=lambda name: places.get(name, len(places)))


def _cell(value: object, properties: Mapping[str, Any], panel: Panel) -> str:
    defaults = {**panel["fieldConfig"]["defaults"], **properties}
    if isinstance(value, int | float):
        colour = colour_at(value, defaults) if "custom.cellOptions" in properties else "inherit"
        return (
            f'<td class="number" style="color:{colour}">{escape(format_value(value, defaults["unit"]))}</td>'
        )
    return f"<td>{escape(str(value)) if value is not None else '-'}</td>"
