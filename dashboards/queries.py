"""The dashboards as JSON, and every PromQL expression in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from meshwright.dashboards.boards import BOARDS

Json = dict[str, Any]

DEFAULT_VALUES = {
    "__rate_interval": "1m",
    "__interval": "30s",
    "service": ".*",
    "callee": ".*",
    "route": ".*",
    "instance": ".*",
    "plane": ".*",
}
"""Values for Grafana's variables outside Grafana: they select everything."""

_VARIABLE = re.compile(r"\$(?:(?P<plain>[a-z_]\w*)|\{(?P<braced>[a-z_]\w*)\})")


def text(board: Json) -> str:
    """The text of a dashboard's file."""
    return json.dumps(board, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def boards() -> dict[str, Json]:
    """Every dashboard as JSON, by uid."""
    return {
        board.uid: _without_obsolete_fields(json.loads(JSONEncoder().encode(board.build())))
        for board in BOARDS
    }


def panels(board: Json) -> Iterator[Json]:
    """The panels of a dashboard without row headings."""
    return (panel for panel in board["panels"] if panel["type"] != "row")


def expressions() -> list[tuple[str, str, str]]:
    """Every PromQL expression: uid of the dashboard, title of the panel, expression with variables."""
    return [
        (uid, panel["title"], target["expr"])
        for uid, board in boards().items()
        for panel in panels(board)
        for target in panel["targets"]
        if "expr" in target
    ]


def fill_variables(expr: str, **values: str) -> str:
    """An expression without variables; `values` replace some of GIVEN. Raises KeyError for an unknown one."""
    query_variable = {**DEFAULT_VALUES, **values}
    return _VARIABLE.sub(lambda match: query_variable[match["plain"] or match["braced"]], expr)


def _without_obsolete_fields(board: Json) -> Json:
    """Remove defaults that the SDK writes for Grafana 11 and that later versions do not know."""
    for variable in board["templating"]["list"]:
        for name in ("auto", "auto_min", "auto_count"):
            variable.pop(name, None)
    for panel in panels(board):
        if panel["type"] == "table":
            panel.get("options", {}).pop("footer", None)
    return board
