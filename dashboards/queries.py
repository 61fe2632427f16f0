"""Every question that the dashboards ask, for whoever wants to put it to a Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from meshwright.dashboards.boards import BOARDS

Json = dict[str, Any]

GIVEN = {
    "__rate_interval": "1m",
    "__interval": "30s",
    "service": ".*",
    "callee": ".*",
    "instance": ".*",
    "plane": ".*",
}
"""What stands for Grafana's variables where there is no Grafana: everything."""

_VARIABLE = re.compile(r"\$(?:(?P<plain>[a-z_]\w*)|\{(?P<braced>[a-z_]\w*)\})")


def text(board: Json) -> str:
    """A dashboard as its file has it."""
    return json.dumps(board, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def boards() -> dict[str, Json]:
    """Every dashboard as JSON, by its uid."""
    return {board.uid: _current(json.loads(JSONEncoder().encode(board.build()))) for board in BOARDS}


def panels(board: Json) -> Iterator[Json]:
    """The panels of a dashboard, without the headings of rows."""
    return (panel for panel in board["panels"] if panel["type"] != "row")


def expressions() -> list[tuple[str, str, str]]:
    """Every panel's PromQL: uid of the dashboard, title of the panel, expression with variables."""
    return [
        (uid, panel["title"], target["expr"])
        for uid, board in boards().items()
        for panel in panels(board)
        for target in panel["targets"]
        if "expr" in target
    ]


def filled(expr: str, **values: str) -> str:
    """An expression without variables; `values` replace some of GIVEN. Raises KeyError for an unknown one."""
    chosen = {**GIVEN, **values}
    return _VARIABLE.sub(lambda match: chosen[match["plain"] or match["braced"]], expr)


def _current(board: Json) -> Json:
    """Without what the SDK writes for Grafana 11 at its default, and later ones do not know any more."""
    for variable in board["templating"]["list"]:
        for name in ("auto", "auto_min", "auto_count"):
            variable.pop(name, None)
    for panel in panels(board):
        if panel["type"] == "table":
            panel.get("options", {}).pop("footer", None)
    return board
