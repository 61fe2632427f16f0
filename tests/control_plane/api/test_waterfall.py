"""The waterfall: labels of rows, visits to a service and how they collapse, positions of bars."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.control_plane.api import waterfall
from meshwright.control_plane.api.models.traces import ResponseFlag, Span, Trace
from meshwright.control_plane.api.waterfall import PARTIAL_BLOCKS, WaterfallRow


def span(id: str, parent: str = "", service: str = "orders", **fields: Any) -> Span:
    defaults = {"operation": f"do {id}", "start": 100.0, "duration": 10.0, "proxy": True, "kind": "server"}
    return Span(id=id, parent=parent, service=service, **{**defaults, **fields})


def order_trace() -> dict[str, Any]:
    """The ingress calls orders, which tries inventory twice; the second attempt has no healthy upstream."""
    received = {"http.url": "http://x/api?q=1", "http.method": "GET"}
    first_attempt = {"upstream_cluster.name": "inventory", "http.status_code": "503"}
    second_attempt = {"upstream_cluster": "inventory"}
    to_app = {"upstream_cluster": "/app/http", "grpc.status_code": "14"}
    to_inventory: dict[str, Any] = {"kind": "client", "error": True}
    no_upstream = ResponseFlag(flag="UH", meaning="no healthy instance was left", kinds=("CircuitBreaker",))
    spans = (
        span("a", service="ingress", duration=80.0, attributes=received),
        span("b", "a", "ingress", kind="client", attributes={"upstream_cluster.name": "orders"}),
        span("c", "b", proxy=False, attributes={"http.response.status_code": "503"}),
        span("d", "c", **to_inventory, start=100.02, attributes=first_attempt),
        span("e", "d", "inventory", message="out of stock", error=True),
        span(
            "f", "c", **to_inventory, attempt=1, start=100.07, attributes=second_attempt, flags=(no_upstream,)
        ),
        span("g", "lost", kind="client", attributes=to_app),
    )
    trace = Trace(
        id="1" * 32, service="ingress", operation="GET", start=100.0, duration=80.0, spans=7, tree=spans
    )
    return trace.model_dump()


def test_rows_show_reporter_status_flags_attempt_operation_and_reasons() -> None:
    rows = waterfall.build_rows(order_trace())
    assert [row.label for row in rows] == [
        "proxy GET /api",
        "proxy → orders",
        "app   503 do c",
        "proxy 503 try 1 → inventory",
        "proxy do e",
        "proxy UH try 2 → inventory",
        "proxy grpc 14 → app",
    ]
    assert rows[5].reasons == ("UH: no healthy instance was left (CircuitBreaker)",)
    assert rows[4].reasons == ("out of stock",)
    assert rows[6].reasons == (waterfall.ORPHAN_MESSAGE,)
    assert [row.id for row in rows if row.cause] == ["e", "f"]


def test_adjacent_spans_of_one_service_are_a_visit() -> None:
    rows = waterfall.build_rows(order_trace())
    assert [(row.visit, row.head, row.level) for row in rows] == [
        ("a", True, 0), ("a", False, 0), ("c", True, 1), ("c", False, 1), ("e", True, 2), ("c", False, 1),
        ("g", True, 0),
    ]  # fmt: skip
    assert [round(row.offset) for row in rows] == [0, 0, 0, 20, 0, 70, 0]


def test_a_collapsed_visit_keeps_its_first_row_and_what_it_called() -> None:
    visible = waterfall.collapse(waterfall.build_rows(order_trace()), {"c"})
    assert [(collapsed.row.id, collapsed.hidden, collapsed.failed) for collapsed in visible] == [
        ("a", 0, 0), ("b", 0, 0), ("c", 2, 2), ("e", 0, 0), ("g", 0, 0),
    ]  # fmt: skip


def row(start: float, length: float) -> WaterfallRow:
    return WaterfallRow("a", "a", True, 0, 0, "s", False, "", "", 0, False, False, start, length, 0, 0)


@pytest.mark.parametrize(
    ("start", "length", "blank", "text", "reversed"),
    [
        (0, 1, 0, "████", False),
        (0.25, 0.5, 1, "██", False),
        (0, 0, 0, "▏", False),
        (1, 0, 3, "▉", True),
        (0.125, 0.5, 0, "▌█▌", True),
        (0.03125, 0.03125, 0, "▏", True),
    ],
)
def test_bars_are_exact_to_an_eighth_of_a_cell(
    start: float, length: float, blank: int, text: str, reversed: bool
) -> None:
    bar = waterfall.bar(row(start, length), 4)
    assert (bar.blank, bar.text, bar.reversed) == (blank, text, reversed)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 300))
def test_bars_stay_within_their_column(start: float, length: float, width: int) -> None:
    any_row = row(start, min(length, 1 - start))
    bar = waterfall.bar(any_row, width)
    assert bar.text
    assert bar.blank + len(bar.text) <= width
    assert set(bar.text) <= set(PARTIAL_BLOCKS)
    assert len(waterfall.text_bar(any_row, width)) <= width
