"""Request records: what is parsed of the log records that proxies send."""

from __future__ import annotations

import random
from typing import Any

import pytest

from meshwright.control_plane.telemetry.requests.record import RequestRecord, parse_records
from tests.control_plane.telemetry.log_exports import BASE_TIME, log_export, record


def test_every_field_of_a_record_is_parsed() -> None:
    parsed = record(status="503", flags="UO", details="overflow", upstream_host="-", attempts="0")
    assert (parsed.service, parsed.proxy, parsed.caller, parsed.callee) == (
        "storefront", "storefront-1", "storefront", "orders",
    )  # fmt: skip
    assert (
        parsed.status,
        parsed.flags,
        parsed.failed,
        parsed.upstream_host,
    ) == (503, "UO", True, "")
    assert (parsed.time, parsed.duration, parsed.attempts) == (BASE_TIME, 12.0, 0)
    assert parsed.policies == ("HTTPRoute/orders", "Retry/twice")
    assert parsed.id.startswith("c8fe00fa")
    request = parsed.to_api(7)
    assert (request.seq, request.flags[0].kinds, request.path) == (7, ("CircuitBreaker",), "/api/orders")


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
def test_a_duration_has_microseconds_where_envoy_sends_them(
    attributes: dict[str, Any], milliseconds: float
) -> None:
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
def test_a_record_fails_by_the_rule_of_the_access_log(attributes: dict[str, Any], failed: bool) -> None:
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
def test_caller_and_callee_follow_direction_certificate_cluster_and_host(
    attributes: dict[str, Any], ends: tuple[str, str]
) -> None:
    parsed = record(**attributes)
    assert (parsed.caller, parsed.callee) == ends


def test_a_host_in_any_domain_of_the_mesh_is_the_service() -> None:
    body = log_export(
        "storefront", {"direction": "outbound", "upstream": "-", "host": "orders.shop.internal:80"}
    )
    for domains, callee in ((("mesh", "shop.internal"), "orders"), (("mesh",), "orders.shop.internal")):
        (parsed,) = (each for each in parse_records(body, "storefront", domains) if each)
        assert isinstance(parsed, RequestRecord)
        assert parsed.callee == callee


def test_records_of_another_service_are_dropped() -> None:
    assert [parsed for parsed in parse_records(log_export("orders", {}), "storefront") if parsed] == [
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
def test_invalid_attributes_drop_the_record(attributes: dict[str, str], drop: str) -> None:
    assert [parsed for parsed in parse_records(log_export("a", attributes), "a") if parsed] == [drop]


def test_an_established_tunnel_has_no_record() -> None:
    assert not [parsed for parsed in parse_records(log_export("a", {"upstream": "/connect"}), "a") if parsed]
    assert record(upstream="/connect", flags="UF").failed


def test_long_values_are_truncated() -> None:
    assert len(record(path="/" * 5000).path) == 512
    assert len(record(request_id="x" * 5000).id) == 128


def test_invalid_bytes_never_raise() -> None:
    chance = random.Random(7)  # noqa: S311  no secret
    data = log_export("a", {}, {"status": "503"})
    for _ in range(3000):
        body = bytearray(data)
        for _ in range(chance.randrange(1, 6)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        for parsed in parse_records(bytes(body[: chance.randrange(len(body) + 1)]), "a"):
            assert (
                parsed is None
                or isinstance(parsed, RequestRecord)
                or parsed in {"foreign", "oversized", "malformed"}
            )
