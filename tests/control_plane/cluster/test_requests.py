"""Requests that several control planes were told of are one store, whoever is asked."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.models.requests import TapFilter
from meshwright.control_plane.cluster.requests import ClusterRequests
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.telemetry.requests.store import RequestStore
from tests.control_plane.telemetry.records import BASE_TIME, record
from tests.fakes.members import connected_members

ID = "c8fe00fa-bdd8-9ba0-9c18-8b4dd66a7c87"


@pytest.fixture
def stores() -> list[RequestStore]:
    """The caller's proxy tells the first control plane, the callee's the second."""
    first, second = RequestStore(), RequestStore()
    first.add(record(status="504", flags="UT"))
    second.add(record("orders", at=BASE_TIME + 0.001, direction="inbound", upstream="/app/http"))
    return [first, second]


@pytest.fixture
def both(stores: list[RequestStore]) -> list[ClusterRequests]:
    return [ClusterRequests(*pair) for pair in zip(stores, connected_members(2), strict=True)]


async def test_a_request_is_whole_wherever_it_was_told(both: list[ClusterRequests]) -> None:
    for each in both:
        assert [one.service for one in await each.find(ID)] == ["storefront", "orders"]
        assert await each.ids_with_prefix("c8fe", 2) == (ID,)
        assert [one.service for one in await each.recent(10)] == ["orders", "storefront"]
        assert [one.service for one in await each.recent(10, errors=True)] == ["storefront"]


async def test_a_listener_hears_all_control_planes_from_now_on(
    stores: list[RequestStore], both: list[ClusterRequests]
) -> None:
    tap = TapFilter(service="orders")
    begun = await both[0].tap(tap, {}, 10)
    assert not begun.requests
    assert set(begun.cursor) == {"plane-0", "plane-1"}
    for number in range(4):
        stores[number % 2].add(record("orders", at=BASE_TIME + number, direction="inbound"))
    heard = await both[0].tap(tap, begun.cursor, 3)
    assert [one.time - BASE_TIME for one in heard.requests] == [0, 1, 2]
    assert heard.omitted == 1
    assert not (await both[0].tap(tap, heard.cursor, 3)).requests


async def test_what_is_no_question_is_refused(stores: list[RequestStore]) -> None:
    reached = connected_members(2)
    ClusterRequests(stores[0], reached[0])
    for method in ("RequestsListed", "RequestsNamed", "RequestsFound", "RequestsHeard"):
        with pytest.raises(InputError):
            await reached[0].methods[method](b"[]")
