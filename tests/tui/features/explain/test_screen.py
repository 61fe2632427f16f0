"""The explain screen by keys."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual.containers import VerticalScroll
from textual.widgets import Input

from meshwright.control_plane.api.models.requests import Request
from meshwright.tui.dialogs.choose_one import ChooseOne
from meshwright.tui.navigation import ExplainLocation, PolicyLocation, ServiceLocation
from tests.tui.pilot import Dashboard, open_dashboard, screen_text, wait_for_text, wait_until
from tests.tui.steps import open_worst_service, press, wait_for_location

REFUSED = "× refused by the proxy of inventory with 403"


async def field(pilot: Dashboard, name: str) -> Input:
    """A field, once it has the focus."""
    await wait_until(pilot, lambda: isinstance(pilot.app.focused, Input) and pilot.app.focused.id == name)
    return pilot.app.screen.query_one(f"#{name}", Input)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_a_request_is_explained_edited_and_leads_to_a_policy(size: tuple[int, int]) -> None:
    async with open_dashboard(size=size) as (pilot, api):
        await open_worst_service(pilot)
        await press(pilot, "E")
        await wait_for_location(pilot, ExplainLocation("inventory"))
        await wait_for_text(pilot, REFUSED, "orders, outbound (1 of 1 proxies have revision 41)", "GET /")
        await wait_for_text(pilot, "by HTTPRoute/inventory-canary (canary.yaml:1, revision 40")
        await press(pilot, "e")
        request = await field(pilot, "request")
        request.value = "POST /reserve"
        await press(pilot, "tab")
        await field(pilot, "headers")
        await press(pilot, *"x-user: 12q", "enter")
        await wait_for_text(pilot, "● forwarded to inventory", "route           POST /reserve")
        path, body = api.posted[-1]
        assert (path, body["caller"], body["headers"]) == ("explain", "orders", [["x-user", "12q"]])
        await press(pilot, "p")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, ChooseOne))
        await wait_for_text(pilot, "CircuitBreaker/inventory-limits  limits.yaml:9  revision 41")
        await press(pilot, "down", "enter")
        await wait_for_location(pilot, PolicyLocation("CircuitBreaker", "inventory-limits"))


async def test_a_mistake_is_said_and_escape_goes_back_step_by_step() -> None:
    async with open_dashboard() as (pilot, _):
        await open_worst_service(pilot)
        await press(pilot, "E")
        await wait_for_text(pilot, REFUSED)
        await press(pilot, "e")
        (await field(pilot, "request")).value = "GET"
        await press(pilot, "enter")
        await wait_for_text(pilot, "× 'GET': write METHOD /PATH as the request")
        await press(pilot, "e")
        await field(pilot, "request")
        await press(pilot, "escape")
        await wait_until(pilot, lambda: isinstance(pilot.app.focused, VerticalScroll))
        await press(pilot, "escape")
        await wait_for_location(pilot, ServiceLocation("inventory"))


async def test_an_edge_of_the_topology_is_explained() -> None:
    async with open_dashboard() as (pilot, api):
        logged = {"time": 1.0, "service": "orders", "callee": "inventory", "direction": "outbound"}
        request = Request.model_validate({**logged, "method": "PUT", "path": "/stock/7"})
        api.mesh = replace(api.mesh, logged=(request,))
        await wait_for_text(pilot, "× inventory")
        await press(pilot, "tab")
        await wait_for_text(pilot, "orders → inventory   12.4/s")
        await press(pilot, "E")
        await wait_for_location(pilot, ExplainLocation("inventory", "orders"))
        await wait_for_text(pilot, REFUSED, "route           PUT /stock/7")


async def test_a_service_that_nobody_calls_asks_for_a_caller() -> None:
    async with open_dashboard() as (pilot, _):
        await press(pilot, "2")
        pilot.app.go(ExplainLocation("warehouse"))  # type: ignore[attr-defined]
        await wait_for_text(pilot, "nobody calls it")
        assert "internal" not in screen_text(pilot)
