"""A thousand services: only visible rows are formatted, and only changed ones redrawn."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual.strip import Strip

from meshwright.control_plane.api.models.topology import HealthThresholds, ServiceList, ServiceSummary
from meshwright.tui.features.services import table as service_table
from meshwright.tui.widgets.table import Table
from meshwright.tui.widgets.table_model import TableRow
from tests.tui.pilot import open_dashboard, screen_text, wait_for_table, wait_for_text, wait_until

SIZE = (120, 30)


async def test_only_visible_services_are_formatted(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    make = service_table.service_row

    def counted(service: ServiceSummary, thresholds: HealthThresholds, labels: str) -> TableRow:
        made.append(service.name)
        return make(service, thresholds, labels)

    monkeypatch.setattr(service_table, "service_row", counted)
    async with open_dashboard("thousand", size=SIZE) as (pilot, api):
        await pilot.press("2")
        await wait_until(pilot, lambda: made)
        table = await wait_for_table(pilot)
        assert table.count == 1001
        assert len(set(made)) <= SIZE[1]
        await pilot.press("end")
        await wait_until(pilot, lambda: table.cursor == 1000)
        last = next(row for row in api.mesh.services.services if row.name == table.selected_key)
        made.clear()
        changed = last.model_copy(update={"rps": 777.0})
        changed_services = tuple(changed if row is last else row for row in api.mesh.services.services)
        api.mesh = replace(api.mesh, services=ServiceList(services=changed_services))
        await wait_until(pilot, lambda: " 777 " in screen_text(pilot))
        assert len(set(made)) <= SIZE[1]


async def test_only_changed_rows_are_redrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_dashboard("exchange", size=SIZE) as (pilot, api):
        await pilot.press("2")
        await wait_until(
            pilot, lambda: pilot.app.screen.query(Table) and pilot.app.screen.query_one(Table).count
        )
        table = await wait_for_table(pilot)
        await wait_for_text(pilot, " catalog ")
        at = table.rows.index(next(row for row in table.rows if row.key == "catalog"))
        drawn: list[int] = []
        render = table.render_line

        def counted(y: int) -> Strip:
            drawn.append(y)
            return render(y)

        monkeypatch.setattr(table, "render_line", counted)
        changed_services = tuple(
            row.model_copy(update={"p95_ms": 777.0}) if row.name == "catalog" else row
            for row in api.mesh.services.services
        )
        api.mesh = replace(api.mesh, services=ServiceList(services=changed_services))
        await wait_until(pilot, lambda: " 777 " in screen_text(pilot))
        assert set(drawn) == {at + 1}


async def test_the_selected_row_keeps_its_place_on_the_screen_when_rows_before_it_vanish() -> None:
    async with open_dashboard("many", size=SIZE) as (pilot, api):
        await pilot.press("2")
        table = await wait_for_table(pilot)
        await pilot.press("greater_than_sign", *["pagedown"] * 3)
        key, line = table.selected_key, table.cursor - table.scroll_offset.y
        before = [row.key for row in table.rows[: table.cursor]]
        rest = tuple(row for row in api.mesh.services.services if row.name not in before[:5])
        api.mesh = replace(api.mesh, services=ServiceList(services=rest))
        await wait_until(pilot, lambda: table.count == len(rest))
        assert (table.selected_key, table.cursor - table.scroll_offset.y) == (key, line)
