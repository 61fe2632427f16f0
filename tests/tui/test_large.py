"""A thousand services: what a new picture costs follows what is seen and what became another."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual.strip import Strip

from control_plane.api.seen import ServiceRow, Services
from tests.tui.looking import listed, looking, reads, text, until
from tui import service_table
from tui.rows import Row
from tui.widgets.table import Table

SIZE = (120, 30)


async def test_only_services_in_the_window_are_put_into_words(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    make = service_table.row

    def counted(service: ServiceRow) -> Row:
        made.append(service.name)
        return make(service)

    monkeypatch.setattr(service_table, "row", counted)
    async with looking("thousand", size=SIZE) as (pilot, api):
        await pilot.press("2")
        await until(pilot, lambda: made)
        table = await listed(pilot)
        assert table.count == 1001
        assert len(set(made)) <= SIZE[1]
        await pilot.press("end")
        await until(pilot, lambda: table.cursor == 1000)
        last = next(row for row in api.world.services.services if row.name == table.chosen)
        made.clear()
        changed = last.model_copy(update={"rps": 777.0})
        told = tuple(changed if row is last else row for row in api.world.services.services)
        api.world = replace(api.world, services=Services(services=told))
        await until(pilot, lambda: " 777 " in text(pilot))
        assert len(set(made)) <= SIZE[1]


async def test_only_lines_that_became_others_are_drawn_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    async with looking("exchange", size=SIZE) as (pilot, api):
        await pilot.press("2")
        await until(pilot, lambda: pilot.app.screen.query(Table) and pilot.app.screen.query_one(Table).count)
        table = await listed(pilot)
        await reads(pilot, " catalog ")
        at = table.rows.index(next(row for row in table.rows if row.key == "catalog"))
        drawn: list[int] = []
        render = table.render_line

        def counted(y: int) -> Strip:
            drawn.append(y)
            return render(y)

        monkeypatch.setattr(table, "render_line", counted)
        told = tuple(
            row.model_copy(update={"p95_ms": 777.0}) if row.name == "catalog" else row
            for row in api.world.services.services
        )
        api.world = replace(api.world, services=Services(services=told))
        await until(pilot, lambda: " 777 " in text(pilot))
        assert set(drawn) == {at + 1}
