"""`python -m checks.boards --prometheus URL DIR`: draws each board with real data into DIR/UID.png.

A board is drawn as a page of HTML by the JSON that Grafana reads, and photographed by headless Chromium.
Prints each panel without data. Exit code 1 if a query is refused.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from checks.boards.panels import NO_DATA, panel_body
from checks.boards.prometheus import Prometheus
from meshwright.dashboards import queries

COLUMN, ROW, GAP = 62, 38, 8
"""Pixels of a column and a row of Grafana's grid, and between panels."""

HEAD = 26
"""Pixels of a panel's title."""

STYLE = """
* { box-sizing: border-box; } body { margin: 0; background: #111217; color: #ccccdc; font: 12px sans-serif; }
.panel { position: absolute; background: #181b1f; border: 1px solid #2c3235; overflow: hidden; }
.panel { padding: 0 6px; } .panel h2 { font-size: 13px; margin: 5px 0; height: 16px; white-space: nowrap; }
.row { position: absolute; font-size: 15px; padding: 8px; } .grid { stroke: #2c3235; }
text { fill: #9a9aa5; font-size: 11px; } .note { color: #9a9aa5; padding: 20px; }
.empty { color: #f2495c; font-size: 16px; padding: 20px; }
.stat { font-size: 26px; height: 40px; white-space: nowrap; } .stat small { font-size: 12px; color: #ccccdc; }
.legend { height: 34px; overflow: hidden; line-height: 16px; } .legend span { margin-right: 10px; }
.legend i { display: inline-block; width: 10px; height: 3px; margin: 0 4px 3px 0; } b { font-weight: normal; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: 3px 6px; }
td, th { border-bottom: 1px solid #2c3235; white-space: nowrap; } .number { text-align: right; }
"""


def first_values(board: Mapping[str, Any], source: Prometheus) -> dict[str, str]:
    """The first value of each variable that has one value at a time, which Grafana selects too."""
    values = {}
    for variable in board["templating"]["list"]:
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", str(variable.get("query", "")))
        if match and not variable["multi"]:
            labels = {series.labels.get(match[2], "") for series in source.instant(match[1])}
            values[variable["name"]] = min(labels, default="")
    return values


def page(
    board: Mapping[str, Any], source: Prometheus, values: Mapping[str, str]
) -> tuple[str, int, list[str]]:
    """A board as HTML, its height in pixels, and the titles of panels without data."""
    empty: list[str] = []
    parts = list(_panels(board, source, values, empty))
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"]) * ROW + 44
    title = f'<div class="row" style="font-size:18px">{escape(board["title"])}</div>'
    return f"<!doctype html><style>{STYLE}</style><body>{title}{''.join(parts)}</body>", height, empty


def _panels(
    board: Mapping[str, Any], source: Prometheus, values: Mapping[str, str], empty: list[str]
) -> Iterator[str]:
    for panel in board["panels"]:
        place = panel["gridPos"]
        width, height = place["w"] * COLUMN - GAP, place["h"] * ROW - GAP
        left, top = place["x"] * COLUMN + GAP, place["y"] * ROW + 40
        style = f"left:{left}px;top:{top}px;width:{width}px;height:{height}px"
        if panel["type"] == "row":
            yield f'<div class="row" style="{style}">{escape(panel["title"])}</div>'
            continue
        fill = partial(queries.fill_variables, **values)
        body = panel_body(panel, source, fill, (width - 14, height - HEAD - 4))
        if body == NO_DATA:
            empty.append(panel["title"])
        title = queries.fill_variables(panel["title"], **values)
        yield f'<div class="panel" style="{style}"><h2>{escape(title)}</h2>{body}</div>'


def photograph(html: Path, png: Path, height: int) -> None:
    """The page as a picture. Raises CalledProcessError if Chromium fails."""
    argv = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    size = f"--window-size={24 * COLUMN + GAP},{height}"
    command = [*argv, size, f"--screenshot={png}", html.resolve().as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=300)


def main(argv: list[str] | None = None) -> int:
    """Draw the boards."""
    parser = argparse.ArgumentParser(prog="python -m checks.boards", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090", metavar="URL")
    parser.add_argument("--minutes", type=float, default=15.0, help="the range of time [default: 15]")
    parser.add_argument("--board", default="", metavar="UID", help="only this one")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a variable, such as service=orders"
    )
    options = parser.parse_args(argv)
    if bad := [text for text in options.set if not re.fullmatch(r"\w+=.*", text)]:
        parser.error(f"--set {bad[0]}: write NAME=VALUE")
    values = dict(text.split("=", 1) for text in options.set)
    options.folder.mkdir(parents=True, exist_ok=True)
    end = time.time()
    source = Prometheus(options.prometheus.rstrip("/"), end - 60 * options.minutes, end)
    for uid, board in queries.boards().items():
        if options.board in {"", uid}:
            try:
                text, height, empty = page(board, source, {**first_values(board, source), **values})
            except ValueError as error:
                sys.stderr.write(f"{uid}: {error}\n")
                return 1
            html = options.folder / f"{uid}.html"
            html.write_text(text, encoding="utf-8")
            photograph(html, html.with_suffix(".png"), height)
            sys.stdout.write(f"{html.with_suffix('.png')}: {len(empty)} panels without data\n")
            sys.stdout.writelines(f"  no data: {title}\n" for title in empty)
    return 0


if __name__ == "__main__":
    sys.exit(main())
