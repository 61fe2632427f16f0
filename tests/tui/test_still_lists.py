"""Every list holds its selected row, and that row's line, while rows arrive and leave around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

from meshwright.control_plane.api.models.events import Event
from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.control_plane.api.models.policies import AttachedPolicy, ServicePolicies
from meshwright.control_plane.api.models.requests import TapEvent
from meshwright.control_plane.api.models.revisions import DocumentChange, RevisionInfo
from meshwright.control_plane.api.models.topology import ServiceList, ServiceSummary
from meshwright.tui import navigation
from meshwright.tui.app import DashboardApp
from meshwright.tui.features.logs.screen import LogsScreen
from meshwright.tui.features.policies.detail import PolicyDetail
from meshwright.tui.features.requests.screen import LiveRequestsScreen
from meshwright.tui.live_list_screen import LiveListScreen
from meshwright.tui.widgets.table import HEAD_ROWS, Table
from tests.fakes.admin_api import FakeAdminApi
from tests.fakes.fixture_parts import edge, node
from tests.fakes.mesh_fixture import NOW
from tests.tui.features.live.test_requests import served
from tests.tui.features.rollouts.test_screen import rollout
from tests.tui.pilot import Dashboard, open_dashboard, wait_until
from tests.tui.steps import press, wait_for_location

SIZE = (120, 14)
"""So low that every list is longer than its place, in which the selected row has others on both sides."""

FIRST, WIDER, LATER = range(100, 116), range(98, 118), range(102, 118)
"""Numbers of the items at first, after some arrived before and behind them, and after the first have left."""

Fill = Callable[[FakeAdminApi, Sequence[int]], None]


@dataclass(frozen=True)
class StillList:
    """A list, and how the mesh gets numbered items for it. `only_grows`: its items never leave."""

    location: navigation.Location
    fill: Fill
    table: str = "Table"
    keys: tuple[str, ...] = ()
    only_grows: bool = False


def services(api: FakeAdminApi, numbers: Sequence[int]) -> None:
    rows = tuple(ServiceSummary(name=f"service-{number}", health="healthy") for number in numbers)
    api.mesh = replace(api.mesh, services=ServiceList(services=rows))


def sidecars(api: FakeAdminApi, numbers: Sequence[int]) -> None:
    first = api.mesh.proxies[0]
    rows = tuple(first.model_copy(update={"name": f"sidecar-{number}"}) for number in numbers)
    api.mesh = replace(api.mesh, proxies=rows)


def instances(api: FakeAdminApi, numbers: Sequence[int]) -> None:
    rows = tuple(
        InstanceStatus(name=f"inventory-{number}", service="inventory", address=f"127.0.0.1:{number}")
        for number in numbers
    )
    api.mesh = replace(api.mesh, instances=rows)


def calls(api: FakeAdminApi, numbers: Sequence[int]) -> None:
    callers = [f"caller-{number}" for number in numbers]
    topology = api.mesh.topology.model_copy(
        update={
            "nodes": (*map(node, callers), node("inventory")),
            "edges": tuple(edge(caller, "inventory", 1) for caller in callers),
        }
    )
    api.mesh = replace(api.mesh, topology=topology)


def policies(api: FakeAdminApi, numbers: Sequence[int]) -> None:
    first = api.mesh.documents[0]
    documents = tuple({**first, "metadata": {"name": f"policy-{number}"}} for number in numbers)
    api.mesh = replace(api.mesh, documents=documents)


def attached_policies(api: FakeAdminApi, numbers: Sequence[int]) -> None:
    """One policy, which has a target in each of many rules of a route."""
    rows = tuple(
        AttachedPolicy(
            kind="Retry",
            name="twice",
            level="route",
            target="HTTPRoute/inventory",
            section=f"rule-{number}",
            in_force=True,
        )
        for number in numbers
    )
    attached = {("inventory", ""): ServicePolicies(service="inventory", policies=rows)}
    api.mesh = replace(api.mesh, service_policies=attached)


def refusals(api: FakeAdminApi, numbers: Sequence[int]) -> None:
    first = api.mesh.refusals[0]
    rows = tuple(
        first.model_copy(update={"service": "inventory", "callee": "inventory", "caller": f"caller-{number}"})
        for number in numbers
    )
    api.mesh = replace(api.mesh, refusals=rows)


def traces(api: FakeAdminApi, numbers: Sequence[int]) -> None:
    first = next(
        trace for trace in api.mesh.traces if "inventory" in {share.service for share in trace.services}
    )
    rows = tuple(first.model_copy(update={"id": f"{number:032}"}) for number in numbers)
    api.mesh = replace(api.mesh, traces=rows)


def event(number: int) -> Event:
    return Event(
        id=f"{number}-0", time=NOW - 600 + number, kind="breaker", subject="inventory", message="opened"
    )


def events_at_once(api: FakeAdminApi, numbers: Sequence[int]) -> None:
    api.mesh = replace(api.mesh, events=tuple(event(number) for number in reversed(numbers)))


def events_one_by_one(api: FakeAdminApi, numbers: Sequence[int]) -> None:
    present = {event.id for event in api.mesh.events} if api.event_queues else set()
    events_at_once(api, numbers)
    for each in api.mesh.events:
        for queue in api.event_queues:
            if each.id not in present:
                queue.put_nowait(each)


def revisions(api: FakeAdminApi, numbers: Sequence[int]) -> None:
    changed = (DocumentChange(kind="CircuitBreaker", name="inventory-limits", action="changed"),)
    rows = tuple(
        RevisionInfo(revision=number, author="me", time=NOW - 600 + number, changed=changed)
        for number in reversed(numbers)
    )
    documents = tuple(
        {**document, "spec": {**document["spec"], "maxRequests": numbers[-1]}}
        if document["metadata"]["name"] == "inventory-limits"
        else document
        for document in api.mesh.documents
    )
    api.mesh = replace(api.mesh, revision=numbers[-1], revisions=rows, documents=documents)


def rollouts(api: FakeAdminApi, numbers: Sequence[int]) -> None:
    api.mesh = replace(api.mesh, rollouts=tuple(rollout(f"rollout-{number}") for number in numbers))


def log_lines(api: FakeAdminApi, numbers: Sequence[int]) -> None:
    lines = api.logs.get("inventory-1", "")
    new = [number for number in numbers if f"line {number}\n" not in lines]
    lines += "".join(f"2026-03-01T10:00:{number % 60:02} INFO line {number}\n" for number in new)
    api.logs["inventory-1"] = lines


def requests(api: FakeAdminApi, numbers: Sequence[int]) -> None:
    for queue in api.tap_queues:
        for number in numbers if numbers == FIRST else set(numbers) - set(FIRST):
            queue.put_nowait(TapEvent(request=served(f"/{number}")))


def pane(name: str, fill: Fill) -> StillList:
    return StillList(navigation.ServiceLocation("inventory"), fill, f"#{name} Table")


BREAKER = navigation.PolicyLocation("CircuitBreaker", "inventory-limits")

LISTS = {
    "services": StillList(navigation.TabLocation("services"), services),
    "traces": StillList(navigation.TabLocation("traces"), traces),
    "policies": StillList(navigation.TabLocation("policies"), policies, "#policies"),
    "sidecars": StillList(navigation.TabLocation("sidecars"), sidecars),
    "events": StillList(navigation.TabLocation("events"), events_one_by_one, only_grows=True),
    "revisions": StillList(navigation.RevisionLocation(108), revisions, only_grows=True),
    "history of a policy": StillList(BREAKER, revisions, "#history", keys=("h",), only_grows=True),
    "rollouts": StillList(navigation.RolloutsLocation(), rollouts),
    "logs": StillList(navigation.LogsLocation("inventory"), log_lines, only_grows=True),
    "requests": StillList(navigation.LiveRequestsLocation("inventory"), requests, only_grows=True),
    "instances of a service": pane("instances", instances),
    "calls of a service": pane("calls", calls),
    "events of a service": pane("events", events_at_once),
    "policies of a service": pane("policies", attached_policies),
    "refusals of a service": pane("refusals", refusals),
    "traces of a service": pane("traces", traces),
}


@pytest.mark.parametrize("case", LISTS.values(), ids=list(LISTS))
async def test_the_selected_row_and_its_line_stay(case: StillList) -> None:
    async with open_dashboard(size=SIZE) as (pilot, api):
        table = await open_list(pilot, api, case)
        table.action_end(0)
        table.action_move(10)
        table.action_move(-1)
        await pilot.pause()
        row, line = table.selected_key, table.cursor - table.scroll_offset.y
        assert table.scroll_offset.y > 0
        for numbers in (WIDER,) if case.only_grows else (WIDER, LATER):
            case.fill(api, numbers)
            await wait_until(pilot, partial(has_rows, table, len(numbers)))
            await pilot.pause()
            assert (table.selected_key, table.cursor - table.scroll_offset.y) == (row, line)
            assert table.rows[table.cursor].key == row


@pytest.mark.parametrize("case", LISTS.values(), ids=list(LISTS))
async def test_the_selected_row_stays_on_the_screen_in_another_order(case: StillList) -> None:
    async with open_dashboard(size=SIZE) as (pilot, api):
        table = await open_list(pilot, api, case)
        table.action_end(0)
        table.action_move(9)
        await pilot.pause()
        row = table.selected_key
        for key in ("greater_than_sign", "r", "greater_than_sign"):
            await press(pilot, key)
            assert table.selected_key == row == table.rows[table.cursor].key
            assert 0 <= table.cursor - table.scroll_offset.y < table.size.height - HEAD_ROWS


@pytest.mark.parametrize(("name", "screen"), [("logs", LogsScreen), ("requests", LiveRequestsScreen)])
async def test_the_selected_row_and_its_line_stay_while_the_oldest_are_dropped(
    name: str, screen: type[LiveListScreen[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen, "LIMIT", len(WIDER))
    case = LISTS[name]
    async with open_dashboard(size=SIZE) as (pilot, api):
        table = await open_list(pilot, api, case)
        table.action_end(0)
        table.action_move(10)
        table.action_move(-1)
        await pilot.pause()
        row, oldest = table.selected_key, table.rows[0].key
        line = table.cursor - table.scroll_offset.y
        case.fill(api, range(100, 124))
        await wait_until(pilot, lambda: table.count == len(WIDER) and table.rows[0].key != oldest)
        await pilot.pause()
        assert (table.selected_key, table.cursor - table.scroll_offset.y) == (row, line)


def has_rows(table: Table, count: int) -> bool:
    return table.count == count


async def open_list(pilot: Dashboard, api: FakeAdminApi, case: StillList) -> Table:
    """The list with the first items and the focus."""
    app = pilot.app
    assert isinstance(app, DashboardApp)
    case.fill(api, FIRST)
    app.go(case.location)
    await wait_for_location(pilot, case.location)
    if case.keys:
        await wait_until(pilot, lambda: any(each.policy for each in app.screen.query(PolicyDetail)))
        await press(pilot, *case.keys)
    await wait_until(pilot, lambda: app.screen.query(case.table))
    table = app.screen.query(case.table).first(Table)
    if case.fill is requests:
        await wait_until(pilot, lambda: api.tap_queues)
        case.fill(api, FIRST)
    await wait_until(pilot, lambda: table.count == len(FIRST) and table.size.area)
    table.focus()
    await wait_until(pilot, lambda: table.has_focus and table.size.height > 1)
    await pilot.pause()
    return table
