"""Live requests: followed, filtered, explained, and the tap that ends when the screen is left."""

from __future__ import annotations

from meshwright.control_plane.api.models.requests import Request, TapEvent
from meshwright.control_plane.api.models.traces import ResponseFlag
from meshwright.tui.features.traces.why_dialog import WhyDialog
from meshwright.tui.navigation import LiveRequestsLocation, ServiceLocation
from meshwright.tui.widgets.table import Table
from tests.fakes.admin_api import FakeAdminApi
from tests.fakes.mesh_fixture import NOW
from tests.tui.pilot import Dashboard, open_dashboard, type_search, wait_for_text, wait_until
from tests.tui.steps import open_worst_service, press, wait_for_location


def served(path: str, status: int = 200, *, proxy: str = "inventory-1") -> Request:
    overflow = ResponseFlag(flag="UO", meaning="the circuit breaker is open, no request was sent")
    return Request(
        id=f"id-{path}",
        time=NOW,
        service="inventory",
        proxy=proxy,
        direction="inbound",
        caller="orders",
        callee="inventory",
        method="GET",
        path=path,
        status=status,
        flags=(overflow,) if status == 503 else (),
        duration=12.3,
        attempts=1,
        failed=status >= 500,
    )


async def open_requests(pilot: Dashboard, api: FakeAdminApi) -> Table:
    """The live requests of inventory, with its two sidecars tapped."""
    await open_worst_service(pilot)
    await press(pilot, "T")
    await wait_for_location(pilot, LiveRequestsLocation("inventory"))
    await wait_until(pilot, lambda: api.tap_queues)
    await emit(api, TapEvent(proxies=2, tapping=2))
    await wait_for_text(pilot, "reported by 2 of 2 proxies", "no requests yet")
    return pilot.app.screen.query_one(Table)


async def emit(api: FakeAdminApi, *events: TapEvent | Request) -> None:
    for event in events:
        for queue in api.tap_queues:
            queue.put_nowait(event if isinstance(event, TapEvent) else TapEvent(request=event))


def paths(table: Table) -> list[str]:
    return [row.cells[3].text.removeprefix("GET ") for row in table.rows]


async def test_requests_appear_at_the_end_and_are_filtered() -> None:
    async with open_dashboard(size=(150, 40)) as (pilot, api):
        table = await open_requests(pilot, api)
        await emit(api, served("/a"), served("/b", 503), served("/c", 404), TapEvent(omitted=7))
        await wait_until(pilot, lambda: paths(table) == ["/a", "/b", "/c"])
        await wait_for_text(pilot, "7 more not shown", "orders → inventory")
        await press(pilot, "x")
        await wait_until(pilot, lambda: paths(table) == ["/b"])
        await wait_for_text(pilot, "failed only", "UO the circuit breaker is open")
        await press(pilot, "x")
        await type_search(pilot, "orders !404 !failed")
        await wait_until(pilot, lambda: paths(table) == ["/a"])


async def test_the_tap_ends_with_the_screen_but_not_under_a_dialog() -> None:
    async with open_dashboard() as (pilot, api):
        table = await open_requests(pilot, api)
        await emit(api, served("/a", 503))
        await wait_until(pilot, lambda: table.count == 1)
        await press(pilot, "enter")
        await wait_until(pilot, lambda: isinstance(pilot.app.screen, WhyDialog))
        await emit(api, served("/b"))
        await press(pilot, "escape")
        await wait_until(pilot, lambda: paths(table) == ["/a", "/b"])
        await press(pilot, "escape")
        await wait_for_location(pilot, ServiceLocation("inventory"))
        await wait_until(pilot, lambda: not api.tap_queues)


async def test_a_tap_is_opened_again_after_an_outage() -> None:
    async with open_dashboard() as (pilot, api):
        table = await open_requests(pilot, api)
        await api.stop()
        await wait_for_text(pilot, "trying again")
        await api.start()
        await wait_until(pilot, lambda: api.tap_queues)
        await emit(api, served("/after"))
        await wait_until(pilot, lambda: paths(table) == ["/after"])


async def test_a_sidecar_shows_only_its_own_requests() -> None:
    async with open_dashboard() as (pilot, api):
        await press(pilot, "5")
        table = pilot.app.screen.query_one(Table)
        await wait_until(pilot, lambda: table.select_key("inventory/inventory-2"))
        await press(pilot, "T")
        await wait_for_location(pilot, LiveRequestsLocation("inventory", "inventory-2"))
        await wait_until(pilot, lambda: api.tap_queues)
        await emit(api, served("/one"), served("/two", proxy="inventory-2"))
        live = pilot.app.screen.query_one(Table)
        await wait_until(pilot, lambda: paths(live) == ["/two"])


async def test_requests_are_received_while_the_events_tab_receives_events() -> None:
    async with open_dashboard(size=(120, 40)) as (pilot, api):
        await press(pilot, "6")
        await wait_until(pilot, lambda: api.event_queues)
        await open_requests(pilot, api)
