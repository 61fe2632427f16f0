"""Requests reported to several control planes are one store, whichever is queried."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.models.requests import TapFilter
from meshwright.control_plane.cluster import cluster_pb2 as pb
from meshwright.control_plane.cluster.requests import MAX_REQUESTS, ClusterRequests
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.telemetry.requests.store import RequestStore
from tests.control_plane.telemetry.log_exports import BASE_TIME, record
from tests.fakes.members import FakeMembers, connected_members

ID = "c8fe00fa-bdd8-9ba0-9c18-8b4dd66a7c87"


@pytest.fixture
def stores() -> list[RequestStore]:
    """The caller's proxy reports to the first control plane, the callee's to the second."""
    first, second = RequestStore(), RequestStore()
    first.add(record(status="504", flags="UT"))
    second.add(record("orders", at=BASE_TIME + 0.001, direction="inbound", upstream="/app/http"))
    return [first, second]


@pytest.fixture
def both(stores: list[RequestStore]) -> list[ClusterRequests]:
    return [ClusterRequests(*pair) for pair in zip(stores, connected_members(2), strict=True)]


async def test_find_returns_the_records_of_all_proxies(both: list[ClusterRequests]) -> None:
    for requests in both:
        assert [request.service for request in await requests.find(ID)] == ["storefront", "orders"]
        assert await requests.ids_with_prefix("c8fe", 2) == (ID,)
        assert [request.service for request in await requests.recent(10)] == ["orders", "storefront"]
        assert [request.service for request in await requests.recent(10, errors=True)] == ["storefront"]


async def test_tap_returns_new_requests_of_all_control_planes(
    stores: list[RequestStore], both: list[ClusterRequests]
) -> None:
    tap = TapFilter(service="orders")
    start = await both[0].tap(tap, {}, 10)
    assert not start.requests
    assert set(start.cursor) == {"plane-0", "plane-1"}
    for number in range(4):
        stores[number % 2].add(record("orders", at=BASE_TIME + number, direction="inbound"))
    page = await both[0].tap(tap, start.cursor, 3)
    assert [request.time - BASE_TIME for request in page.requests] == [0, 1, 2]
    assert page.omitted == 1
    assert not (await both[0].tap(tap, page.cursor, 3)).requests


async def test_request_unreadable_is_rejected(stores: list[RequestStore]) -> None:
    members = connected_members(2)
    ClusterRequests(stores[0], members[0])
    for method in ("ListRequests", "FindRequestIds", "FindRequests", "TapRequests"):
        with pytest.raises(InputError):
            await members[0].respond(method, b"[]")


async def test_request_out_of_bounds_is_rejected(stores: list[RequestStore]) -> None:
    members = connected_members(2)
    ClusterRequests(stores[0], members[0])
    for name, message in (
        ("ListRequests", pb.RequestListQuery(limit=MAX_REQUESTS + 1)),
        ("FindRequestIds", pb.IdQuery(id="x", limit=MAX_REQUESTS + 1)),
        ("TapRequests", pb.TapCursor(limit=MAX_REQUESTS + 1)),
        ("TapRequests", pb.TapCursor(filter=pb.TapFilter(service="x" * 64), limit=1)),
    ):
        with pytest.raises(InputError):
            await members[0].respond(name, message.SerializeToString())


async def test_response_with_invalid_request_is_ignored(both: list[ClusterRequests]) -> None:
    peer = both[1]._peers
    assert isinstance(peer, FakeMembers)
    peer.bodies["FindRequests"] = pb.RequestList(requests_json=[b"{"]).SerializeToString()
    assert [request.service for request in await both[0].find(ID)] == ["storefront"]
