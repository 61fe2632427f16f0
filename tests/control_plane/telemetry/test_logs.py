"""What proxies tell of requests, read from the bytes they send; nothing else is ever raised."""

from __future__ import annotations

import random
from typing import Any

import pytest

from meshwright.control_plane.telemetry.requests import record as record_module
from meshwright.control_plane.telemetry.requests.record import RequestRecord
from tests.control_plane.telemetry.records import BASE_TIME, log_export, record


def test_a_record_is_read_whole() -> None:
    found = record(status="503", flags="UO", details="overflow", upstream_host="-", attempts="0")
    assert (found.service, found.proxy, found.caller, found.callee) == (
        "storefront", "storefront-1", "storefront", "orders",
    )  # fmt: skip
    assert (found.status, found.flags, found.failed, found.upstream_host) == (503, "UO", True, "")
    assert (found.time, found.duration, found.attempts) == (BASE_TIME, 12.0, 0)
    assert found.policies == ("HTTPRoute/orders", "Retry/twice")
    assert found.id.startswith("c8fe00fa")
    told = found.to_api(7)
    assert (told.seq, told.flags[0].kinds, told.path) == (7, ("CircuitBreaker",), "/api/orders")


@pytest.mark.parametrize(
    ("attributes", "milliseconds"),
    [
        ({"duration_ms": "0", "duration_us": "127"}, 0.127),
        ({"duration_ms": "47", "duration_us": "47469"}, 47.469),
        ({"duration_ms": "103", "duration_us": "-"}, 103.0),
        ({"duration_ms": "0", "duration_us": "-"}, 0.0),
        ({"duration_ms": "5"}, 5.0),
    ],
)
def test_a_duration_is_as_fine_as_envoy_tells_it(attributes: dict[str, Any], milliseconds: float) -> None:
    assert record(**attributes).duration == milliseconds


@pytest.mark.parametrize(
    ("attributes", "failed"),
    [
        ({}, False),
        ({"status": "404"}, False),
        ({"status": "404", "flags": "NR"}, True),
        ({"flags": "DI"}, False),
        ({"status": "0", "flags": "DC"}, True),
        ({"status": "200", "flags": "DC"}, False),
        ({"status": "200", "flags": "DC,UC"}, True),
        ({"grpc_status": "Unavailable", "content_type": "application/grpc+proto"}, True),
        ({"grpc_status": "NotFound", "content_type": "application/grpc"}, False),
        ({"grpc_status": "Unavailable", "content_type": "text/html"}, False),
    ],
)
def test_what_failed_is_told_as_the_access_log_counts_it(attributes: dict[str, Any], failed: bool) -> None:
    assert record(**attributes).failed is failed


@pytest.mark.parametrize(
    ("attributes", "ends"),
    [
        ({"upstream": "orders:grpc"}, ("storefront", "orders")),
        ({"upstream": "orders/v2"}, ("storefront", "orders")),
        ({"upstream": "-", "host": "nowhere.mesh:8080"}, ("storefront", "nowhere")),
        ({"upstream": "/blackhole", "host": "orders"}, ("storefront", "orders")),
        ({"direction": "inbound", "peer": "spiffe://mesh.local/gateway/ingress"}, ("ingress", "storefront")),
        ({"direction": "inbound", "peer": "-"}, ("", "storefront")),
        ({"direction": "inbound", "peer": "spiffe://evil/../x"}, ("", "storefront")),
        ({"direction": "ingress", "upstream": "-", "host": "shop.example.com"}, ("storefront", "")),
    ],
)
def test_who_called_whom(attributes: dict[str, Any], ends: tuple[str, str]) -> None:
    found = record(**attributes)
    assert (found.caller, found.callee) == ends


def test_a_record_counts_only_for_who_sent_it() -> None:
    assert [one for one in record_module.parse_records(log_export("orders", {}), "storefront") if one] == [
        "foreign"
    ]


@pytest.mark.parametrize(
    ("attributes", "drop"),
    [
        ({"direction": "sideways"}, "malformed"),
        ({"status": "-5"}, "malformed"),
        ({"duration_ms": "1e400"}, "malformed"),
        ({"duration_us": "1.5"}, "malformed"),
        ({"policies": "[not json"}, "malformed"),
        ({"path": "/" * 20_000}, "oversized"),
    ],
)
def test_what_no_envoy_says_is_dropped(attributes: dict[str, str], drop: str) -> None:
    assert [one for one in record_module.parse_records(log_export("a", attributes), "a") if one] == [drop]


def test_a_tunnel_is_no_request_unless_it_failed() -> None:
    assert not [
        one for one in record_module.parse_records(log_export("a", {"upstream": "/connect"}), "a") if one
    ]
    assert record(upstream="/connect", flags="UF").failed


def test_long_texts_are_cut() -> None:
    assert len(record(path="/" * 5000).path) == 512
    assert len(record(request_id="x" * 5000).id) == 128


def test_garbage_is_never_raised() -> None:
    chance = random.Random(7)  # noqa: S311  no secret
    whole = log_export("a", {}, {"status": "503"})
    for _ in range(3000):
        body = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        for one in record_module.parse_records(bytes(body[: chance.randrange(len(body) + 1)]), "a"):
            assert (
                one is None or isinstance(one, RequestRecord) or one in {"foreign", "oversized", "malformed"}
            )
