"""Traces by keys: filtered, opened, collapsed, followed to service and policy."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest
from textual.widgets import OptionList

from meshwright.control_plane.api.models.traces import Span, Trace
from meshwright.tui import navigation
from meshwright.tui.app import DashboardApp
from meshwright.tui.features.policies.detail_screen import PolicyDetailScreen
from meshwright.tui.features.traces.detail_screen import TraceDetailScreen
from meshwright.tui.features.traces.screen import TracesScreen
from meshwright.tui.features.traces.span_detail import SpanDetail
from meshwright.tui.features.traces.waterfall import Waterfall
from meshwright.tui.widgets.table import Table
from tests.fakes.mesh_fixture import NOW
from tests.tui.pilot import Dashboard, open_dashboard, screen_text, type_search, wait_for_text, wait_until
from tests.tui.pilot import wait_for_table as drawn
from tests.tui.steps import choose

FAILED = "3f9a" + "1" * 28


def dash(pilot: Dashboard) -> DashboardApp:
    """The application."""
    return cast("DashboardApp", pilot.app)


async def open_list(pilot: Dashboard) -> Table:
    """Open the traces tab; returns its table."""
    await pilot.press("3")
    await wait_until(pilot, lambda: isinstance(pilot.app.screen, TracesScreen))
    return await drawn(pilot)


async def open_trace(pilot: Dashboard) -> Waterfall:
    """Open the first trace; returns its waterfall."""
    await pilot.press("enter")
    await wait_until(
        pilot, lambda: isinstance(pilot.app.screen, TraceDetailScreen) and pilot.app.screen.query(Waterfall)
    )
    waterfall_widget = pilot.app.screen.query_one(Waterfall)
    await wait_until(pilot, lambda: waterfall_widget.selected and waterfall_widget.has_focus)
    await pilot.pause()
    return waterfall_widget


async def test_traces_are_newest_first_and_filtered_by_keys_and_text() -> None:
    async with open_dashboard() as (pilot, api):
        table = await open_list(pilot)
        assert table.rows[0].key == FAILED
        await wait_for_text(pilot, "×")
        await pilot.press("x")
        await wait_until(pilot, lambda: len(table.rows) == 1)
        await wait_for_text(pilot, "failed only")
        await pilot.press("escape")
        await wait_until(pilot, lambda: len(table.rows) > 1)
        await choose(pilot, "f", "of at least 250ms")
        await wait_until(pilot, lambda: any("minDuration=250ms" in path for path in api.requests))
        await pilot.press("escape")
        await type_search(pilot, "catalog")
        await pilot.press("enter")
        await wait_until(pilot, lambda: any("service=catalog" in path for path in api.requests))
        await wait_until(pilot, lambda: all("catalog" in row.cells[-1].text for row in table.rows))
        await wait_for_text(pilot, "of catalog")


async def test_a_paused_list_does_not_change() -> None:
    async with open_dashboard() as (pilot, api):
        table = await open_list(pilot)
        await pilot.press("space")
        await wait_for_text(pilot, "paused")
        await wait_until(pilot, lambda: not is_loading(pilot))
        before = table.rows
        newer = api.mesh.traces[0].model_copy(update={"id": "f" * 32, "start": NOW})
        api.mesh = replace(api.mesh, traces=(newer, *api.mesh.traces))
        requests_before = len(api.requests)
        await wait_until(pilot, lambda: len(api.requests) > requests_before + 8)
        assert table.rows == before
        await pilot.press("space")
        await wait_until(pilot, lambda: table.rows[0].key == "f" * 32)


def is_loading(pilot: Dashboard) -> bool:
    """Whether the list is being fetched."""
    return any(worker.name == "_load" and not worker.is_finished for worker in pilot.app.workers)


async def test_a_failed_trace_shows_retries_and_the_meaning_of_response_flags() -> None:
    async with open_dashboard(size=(80, 24)) as (pilot, _):
        await open_list(pilot)
        waterfall_widget = await open_trace(pilot)
        await wait_for_text(pilot, "POST /api/orders", "× 7 failed", "try 3 → inventory")
        await wait_for_text(pilot, "No healthy host was left", "http.status_code")
        await pilot.press("n", "n")
        await wait_until(
            pilot, lambda: waterfall_widget.selected and waterfall_widget.selected.service == "orders"
        )
        await pilot.press("left")
        await wait_for_text(pilot, "+", "failed")
        await pilot.press("minus")
        await wait_until(pilot, lambda: waterfall_widget.hidden > 0)
        await pilot.press("minus")
        await wait_until(pilot, lambda: waterfall_widget.hidden == 0)


async def test_a_span_leads_to_its_service_and_to_the_responsible_policy() -> None:
    async with open_dashboard() as (pilot, _):
        await open_list(pilot)
        waterfall_widget = await open_trace(pilot)
        await pilot.press("end", "up")
        await wait_until(pilot, lambda: waterfall_widget.selected and waterfall_widget.selected.attempt == 3)
        await pilot.press("w")
        await wait_for_text(pilot, "CircuitBreaker inventory-limits")
        await wait_until(pilot, lambda: isinstance(pilot.app.focused, OptionList))
        await pilot.press("enter")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, PolicyDetailScreen))
        await wait_until(pilot, lambda: "maxRequests: 8" in screen_text(pilot))
        await pilot.press("escape")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, TraceDetailScreen))
        await pilot.press("s")
        await wait_until(
            pilot, lambda: navigation.ServiceLocation("orders") == getattr(pilot.app.screen, "location", None)
        )


async def test_the_trace_id_is_copied_and_jaeger_offered_if_its_url_is_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_dashboard() as (pilot, _):
        await open_list(pilot)
        await open_trace(pilot)
        await pilot.press("i")
        await wait_until(pilot, lambda: pilot.app.clipboard == FAILED)
        assert "Jaeger" not in screen_text(pilot)
        opened_at: list[str] = []
        monkeypatch.setattr(pilot.app, "open_url", opened_at.append)
        dash(pilot).jaeger = "http://jaeger:16686/"
        await pilot.press("J")
        await wait_until(pilot, lambda: opened_at)
        assert opened_at == [f"http://jaeger:16686/trace/{FAILED}"]


async def test_a_trace_that_is_not_stored_says_so() -> None:
    async with open_dashboard() as (pilot, _):
        dash(pilot).go(navigation.TraceLocation("deadbeef"))
        await wait_until(pilot, lambda: "no trace deadbeef" in screen_text(pilot))


def big(count: int) -> Trace:
    """A trace of many spans, ten levels deep, of services with long non-ASCII names."""
    tree = tuple(
        Span(
            id=f"{n + 1:016x}",
            parent=f"{n:016x}" if n % 10 else "",
            depth=n % 10,
            service=f"dienst-{'ü' * 20}-{n % 3}" + "x" * 30,
            operation=f"GET /größe/注文/{n}",
            start=NOW - 5 + n / 1000,
            duration=1.5,
            error=n % 7 == 0,
            message="注文が失敗しました" if n % 7 == 0 else "",
        )
        for n in range(count)
    )
    return Trace(
        id="b" * 32, service="dienst", operation="GET /größe/注文", start=NOW - 5, duration=count + 1.0,
        spans=count, errors=count // 7 + 1, tree=tree,
    )  # fmt: skip


@pytest.mark.parametrize("size", [(40, 10), (80, 24), (200, 60)])
async def test_a_trace_of_two_thousand_spans_scrolls_at_any_size(size: tuple[int, int]) -> None:
    async with open_dashboard(size=size) as (pilot, api):
        api.mesh = replace(api.mesh, traces=(big(2000),))
        dash(pilot).go(navigation.TraceLocation("b" * 32))
        await wait_until(
            pilot,
            lambda: isinstance(pilot.app.screen, TraceDetailScreen) and pilot.app.screen.query(Waterfall),
        )
        waterfall_widget = pilot.app.screen.query_one(Waterfall)
        await wait_until(pilot, lambda: waterfall_widget.selected and waterfall_widget.has_focus)
        await pilot.press("end")
        await wait_until(
            pilot, lambda: waterfall_widget.selected and waterfall_widget.selected.id == f"{2000:016x}"
        )
        await pilot.press("pageup", "home", "n", "left")
        await wait_until(pilot, lambda: 0 < waterfall_widget.cursor < 100)
        lines = screen_text(pilot).split("\n")
        assert len(lines) == size[1]
        await pilot.press("enter")
        await wait_until(pilot, lambda: isinstance(pilot.app.focused, SpanDetail))
        await pilot.press("escape")
        await wait_until(pilot, lambda: waterfall_widget.has_focus)


async def test_without_traces_it_says_what_to_do() -> None:
    async with open_dashboard("empty") as (pilot, _):
        await pilot.press("3")
        await wait_for_text(pilot, "mesh demo --traffic")
        await pilot.press("x")
        await wait_until(pilot, lambda: "clears the filter" in screen_text(pilot))
