"""The request store: its limits for each service, and its records by request and by trace."""

from __future__ import annotations

from meshwright.control_plane.api.models.requests import TapFilter
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.telemetry.requests.store import RequestStore, matches_tap
from tests.control_plane.telemetry.log_exports import BASE_TIME, log_export, record

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_a_noisy_service_evicts_only_its_own_records() -> None:
    store = RequestStore(max_per_service=10)
    store.add(record("quiet", request_id="rare-1"))
    for number in range(100):
        store.add(record("noisy", request_id=f"noise-{number}"))
    assert len(store) == 11
    assert store.evicted == 90
    assert [request.service for request in store.find("rare-1")] == ["quiet"]
    assert store.find("noise-89") == ()
    assert store.find("noise-90")


def test_successful_requests_do_not_evict_failed_ones() -> None:
    store = RequestStore(max_per_service=5)
    store.add(record(request_id="bad-1", status="503", flags="UO"))
    for number in range(50):
        store.add(record(request_id=f"good-{number}"))
    assert store.find("bad-1")[0].failed


def test_the_longest_queue_makes_room_for_bytes_and_records() -> None:
    store = RequestStore(max_per_service=1000, max_records=20)
    store.add(record("quiet", request_id="rare-1"))
    for number in range(50):
        store.add(record("noisy", request_id=f"noise-{number}"))
    assert len(store) == 20
    assert store.find("rare-1")
    small = RequestStore(max_bytes=20_000)
    for number in range(100):
        small.add(record(request_id=f"noise-{number}", path="/" * 300))
    assert 5 < len(small) < 20
    assert small.size_bytes <= 20_000


def test_evicted_records_leave_every_index() -> None:
    store = RequestStore(max_records=1)
    store.add(record(request_id="first"))
    store.add(record(request_id="second", trace="0" * 31 + "1"))
    assert (store.find("first"), store.find(TRACE)) == ((), ())
    assert store.ids_with_prefix("firs", 2) == ()


def test_records_of_several_proxies_share_a_request() -> None:
    store = RequestStore()
    store.add(record("orders", at=BASE_TIME + 0.001, direction="inbound", upstream="/app/http"))
    store.add(record("storefront"))
    requests = store.find(TRACE)
    assert [request.service for request in requests] == ["storefront", "orders"]
    assert store.find("c8fe00fa-bdd8-9ba0-9c18-8b4dd66a7c87") == requests


def test_ids_are_found_by_prefix() -> None:
    store = RequestStore()
    store.add(record(request_id="abcd-1", trace="abcd" + "0" * 28))
    store.add(record(request_id="abcd-12", trace="f" * 32))
    assert store.ids_with_prefix("ffff", 2) == ("f" * 32,)
    assert len(store.ids_with_prefix("abcd", 2)) == 2
    assert store.ids_with_prefix("abcd-1", 2) == ("abcd-1",)
    assert store.ids_with_prefix("abc", 2) == ()


def test_recent_requests_are_filtered_and_newest_first() -> None:
    store = RequestStore()
    for number in range(5):
        store.add(
            record(at=BASE_TIME + number, request_id=f"one-{number}", status="503" if number % 2 else "200")
        )
    store.add(record("ingress", at=BASE_TIME, direction="ingress", upstream="catalog", request_id="other"))
    assert [request.id for request in store.recent(2, service="orders")] == ["one-4", "one-3"]
    assert [request.id for request in store.recent(9, errors=True)] == ["one-3", "one-1"]
    assert [request.id for request in store.recent(9, service="catalog")] == ["other"]
    assert [request.id for request in store.recent(9, since=BASE_TIME + 3.5)] == ["one-4"]


def test_a_tap_gets_new_records_and_the_number_left_out() -> None:
    store = RequestStore()
    store.add(record("orders", direction="inbound", request_id="before"))
    begun = store.last_seq
    for number in range(5):
        store.add(record("orders", direction="inbound", request_id=f"one-{number}"))
    requests, more, newest = store.after(begun, TapFilter(service="orders"), 3)
    assert [request.id for request in requests] == ["one-0", "one-1", "one-2"]
    assert (more, newest) == (2, store.last_seq)
    assert store.after(newest, TapFilter(service="orders"), 3) == ((), 0, newest)


def test_a_tap_shows_received_requests_and_those_never_sent() -> None:
    tap = TapFilter(service="orders")
    assert matches_tap(tap, record("orders", direction="inbound", upstream="/app/http"))
    assert matches_tap(tap, record(flags="FI", status="503", upstream_host="-"))
    assert matches_tap(tap, record(flags="UO", status="503")), "an instance was chosen, but not asked"
    assert matches_tap(tap, record(flags="UF,URX", status="503")), "no connection was made"
    assert not matches_tap(tap, record(flags="UT", status="504")), "its own sidecar tells of it"
    assert not matches_tap(
        tap, record("orders", upstream="catalog", flags="UO", status="503", upstream_host="-")
    )
    ingress = TapFilter(service="ingress")
    assert matches_tap(ingress, record("ingress", direction="ingress"))


def test_a_tap_filters_by_method_path_caller_and_errors() -> None:
    good = record("orders", direction="inbound", peer="spiffe://mesh.local/service/storefront")
    assert matches_tap(TapFilter(service="orders", method="GET", path="/api", caller="storefront"), good)
    for other in ({"method": "POST"}, {"path": "/admin"}, {"caller": "catalog"}, {"errors": True}):
        assert not matches_tap(TapFilter(service="orders", **other), good)


def test_an_export_is_processed_in_steps_and_invalid_records_counted() -> None:
    store = RequestStore()
    identity = Identity("mesh.local", "service", "orders")
    body = log_export("orders", *({"request_id": f"one-{number}"} for number in range(200)))
    slices = sum(1 for _ in store.handle(identity, body, 0.0))
    assert slices >= 3
    assert len(store) == 200
    for junk in (b"\xff" * 100, log_export("orders", {"direction": "up"}), log_export("other", {})):
        list(store.handle(identity, junk, 0.0))
    assert dict(store.dropped) == {"malformed": 2, "foreign": 1}
