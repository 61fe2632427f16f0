"""Requests that several control planes were told of are one store, whoever is asked."""

from __future__ import annotations

import pytest

from control_plane.api.requested import Tap
from control_plane.errors import InputError
from control_plane.peers.requests import SharedRequests
from control_plane.telemetry.requests import Requests
from tests.fakes.peers import connected
from tests.unit.telemetry.records import BEGIN, record

ID = "c8fe00fa-bdd8-9ba0-9c18-8b4dd66a7c87"


@pytest.fixture
def stores() -> list[Requests]:
    """The caller's proxy tells the first control plane, the callee's the second."""
    first, second = Requests(), Requests()
    first.add(record(status="504", flags="UT"))
    second.add(record("orders", at=BEGIN + 0.001, direction="inbound", upstream="/app/http"))
    return [first, second]


@pytest.fixture
def both(stores: list[Requests]) -> list[SharedRequests]:
    return [SharedRequests(*pair) for pair in zip(stores, connected(2), strict=True)]


async def test_a_request_is_whole_wherever_it_was_told(both: list[SharedRequests]) -> None:
    for each in both:
        assert [one.service for one in await each.find(ID)] == ["storefront", "orders"]
        assert await each.named("c8fe", 2) == (ID,)
        assert [one.service for one in await each.listed(10)] == ["orders", "storefront"]
        assert [one.service for one in await each.listed(10, errors=True)] == ["storefront"]


async def test_a_listener_hears_all_control_planes_from_now_on(
    stores: list[Requests], both: list[SharedRequests]
) -> None:
    tap = Tap(service="orders")
    begun = await both[0].heard(tap, {}, 10)
    assert not begun.requests
    assert set(begun.marks) == {"plane-0", "plane-1"}
    for number in range(4):
        stores[number % 2].add(record("orders", at=BEGIN + number, direction="inbound"))
    heard = await both[0].heard(tap, begun.marks, 3)
    assert [one.time - BEGIN for one in heard.requests] == [0, 1, 2]
    assert heard.more == 1
    assert not (await both[0].heard(tap, heard.marks, 3)).requests


async def test_what_is_no_question_is_refused(stores: list[Requests]) -> None:
    reached = connected(2)
    SharedRequests(stores[0], reached[0])
    for method in ("RequestsListed", "RequestsNamed", "RequestsFound", "RequestsHeard"):
        with pytest.raises(InputError):
            await reached[0].served[method](b"[]")
