"""Drawing boards: values as Grafana writes them, tables as it joins them, and every panel of every board."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from checks.boards import __main__ as boards
from checks.boards.panels import NO_DATA, panel_body
from checks.boards.prometheus import Prometheus, Series
from checks.boards.units import format_value
from meshwright.dashboards import queries


@dataclass(frozen=True, slots=True)
class FakePrometheus(Prometheus):
    """Responds to every query with the same series."""

    results: list[Series]

    def range(self, expression: str) -> list[Series]:
        return self.results

    def instant(self, expression: str) -> list[Series]:
        return [Series(each.labels, each.points[-1:]) for each in self.results]


def fake(*series: Series) -> FakePrometheus:
    """A Prometheus with some series."""
    return FakePrometheus("", 0.0, 100.0, list(series))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1234.0, "ms", "1.23 s"),
        (0, "ms", "0 ms"),
        (90_000, "ms", "1.5 min"),
        (0.9951, "percentunit", "99.5%"),
        (12.345, "reqps", "12.3 req/s"),
        (2048, "bytes", "2 KiB"),
        (1, "bool_yes_no", "Yes"),
        (15_000, "short", "15 K"),
        (0.000_25, "s", "250 µs"),
    ],
)
def test_values_have_three_digits_and_their_unit(value: float, unit: str, text: str) -> None:
    assert format_value(value, unit) == text


def test_every_panel_is_drawn_with_data_and_says_so_without() -> None:
    labels = {"le": "1", "id": "a", "service": "orders"}
    full = fake(Series(labels, ((10.0, 1.0), (90.0, 2.0))))
    for board in queries.boards().values():
        html, height, empty = boards.page(board, full, {})
        assert not empty
        assert height > 0
        assert "no renderer" not in html
        panels = [panel for panel in queries.panels(board) if "expr" in panel["targets"][0]]
        _, _, empty = boards.page(board, fake(), {})
        assert len(empty) == len(panels)


def test_columns_of_a_table_are_joined_by_labels_and_sorted_by_the_first() -> None:
    panel: dict[str, Any] = {
        "type": "table",
        "targets": [{"expr": "a", "refId": "A"}, {"expr": "b", "refId": "B"}],
        "transformations": [{"id": "organize", "options": {"renameByName": {"Value #A": "Rate"}}}],
        "options": {"sortBy": [{"displayName": "Rate"}]},
        "fieldConfig": {"defaults": {"unit": "reqps"}, "overrides": []},
    }
    source = fake(
        *(Series({"callee": name}, ((1.0, value),)) for name, value in (("slow", 1.0), ("busy", 9.0)))
    )
    html = panel_body(panel, source, str, (400, 200))
    assert html.count("<tr>") == 3
    assert html.index("busy") < html.index("slow")
    assert html.count("9 req/s") == 2
    assert panel_body(panel, fake(), str, (400, 200)) == NO_DATA
