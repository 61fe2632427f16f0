"""The waterfall: what each row says, how visits to a service fold, and that bars are where they belong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.control_plane.api import waterfall
from meshwright.control_plane.api.models.traces import ResponseFlag, Span, Trace
from meshwright.control_plane.api.waterfall import PARTIAL_BLOCKS, WaterfallRow


def step(id: str, parent: str = "", service: str = "orders", **more: Any) -> Span:
    given = {
        "operation": f"do {id}",
        "start": 100.0,
        "duration": 10.0,
        "proxy": True,
        "kind": "server",
        **more,
    }
    return Span(id=id, parent=parent, service=service, **given)


def order() -> dict[str, Any]:
    """The ingress calls orders, which tries inventory twice; the second try finds nobody."""
    taken = {"http.url": "http://x/api?q=1", "http.method": "GET"}
    refused = {"upstream_cluster.name": "inventory", "http.status_code": "503"}
    again = {"upstream_cluster": "inventory"}
    own = {"upstream_cluster": "/app/http", "grpc.status_code": "14"}
    to_inventory: dict[str, Any] = {"kind": "client", "error": True}
    noone = ResponseFlag(flag="UH", meaning="no healthy instance was left", kinds=("CircuitBreaker",))
    spans = (
        step("a", service="ingress", duration=80.0, attributes=taken),
        step("b", "a", "ingress", kind="client", attributes={"upstream_cluster.name": "orders"}),
        step("c", "b", proxy=False, attributes={"http.response.status_code": "503"}),
        step("d", "c", **to_inventory, start=100.02, attributes=refused),
        step("e", "d", "inventory", message="out of stock", error=True),
        step("f", "c", **to_inventory, attempt=1, start=100.07, attributes=again, flags=(noone,)),
        step("g", "lost", kind="client", attributes=own),
    )  # fmt: skip
    whole = Trace(
        id="1" * 32, service="ingress", operation="GET", start=100.0, duration=80.0, spans=7, tree=spans
    )
    return whole.model_dump()


def test_rows_say_who_did_what_which_try_and_why() -> None:
    found = waterfall.build_rows(order())
    assert [row.label for row in found] == [
        "proxy GET /api",
        "proxy → orders",
        "app   503 do c",
        "proxy 503 try 1 → inventory",
        "proxy do e",
        "proxy UH try 2 → inventory",
        "proxy grpc 14 → app",
    ]
    assert found[5].reasons == ("UH: no healthy instance was left (CircuitBreaker)",)
    assert found[4].reasons == ("out of stock",)
    assert found[6].reasons == (waterfall.ORPHAN_MESSAGE,)
    assert [row.id for row in found if row.cause] == ["e", "f"]


def test_steps_of_one_service_that_hang_together_are_a_visit() -> None:
    found = waterfall.build_rows(order())
    assert [(row.visit, row.head, row.level) for row in found] == [
        ("a", True, 0), ("a", False, 0), ("c", True, 1), ("c", False, 1), ("e", True, 2), ("c", False, 1),
        ("g", True, 0),
    ]  # fmt: skip
    assert [round(row.offset) for row in found] == [0, 0, 0, 20, 0, 70, 0]


def test_a_folded_visit_keeps_its_head_and_what_it_called() -> None:
    shown = waterfall.collapse(waterfall.build_rows(order()), {"c"})
    assert [(one.row.id, one.hidden, one.failed) for one in shown] == [
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
def test_bars_are_exact_to_an_eighth(
    start: float, length: float, blank: int, text: str, reversed: bool
) -> None:
    drawn = waterfall.bar(row(start, length), 4)
    assert (drawn.blank, drawn.text, drawn.reversed) == (blank, text, reversed)


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 300))
def test_no_bar_leaves_its_column(start: float, length: float, width: int) -> None:
    one = row(start, min(length, 1 - start))
    drawn = waterfall.bar(one, width)
    assert drawn.text
    assert drawn.blank + len(drawn.text) <= width
    assert set(drawn.text) <= set(PARTIAL_BLOCKS)
    assert len(waterfall.text_bar(one, width)) <= width
