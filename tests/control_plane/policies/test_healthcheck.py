"""HealthCheck on Envoy's clusters."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.circuitbreaker.spec import CircuitBreakerSpec
from meshwright.control_plane.policies.healthcheck.spec import HTTP_OPTIONS, HealthCheck, HealthCheckSpec


def check(**spec: Any) -> HealthCheckSpec:
    return HealthCheckSpec.model_validate(spec)


def cluster(name: str = "orders", http: bool = True) -> v3.Cluster:
    made = v3.Cluster(name=name)
    if http:
        made.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(codec.pack(v3.HttpProtocolOptions()))
    return made


def probed(spec: HealthCheckSpec, *clusters: v3.Cluster) -> list[str]:
    for one in clusters:
        spec.patch_cluster(one)
    return [one.name for one in clusters if one.health_checks]


def test_an_http_probe_speaks_http2_to_the_service() -> None:
    made = cluster("orders/v2")
    check(http={"path": "/live", "expectedStatuses": [204, 200]}, interval="2s").patch_cluster(made)
    assert codec.to_dict(made)["health_checks"] == [
        {
            "timeout": "1s",
            "interval": "2s",
            "unhealthy_threshold": 2,
            "healthy_threshold": 1,
            "http_health_check": {
                "host": "orders",
                "path": "/live",
                "expected_statuses": [{"start": "200", "end": "201"}, {"start": "204", "end": "205"}],
                "codec_client_type": "HTTP2",
            },
            "no_traffic_interval": "2s",
        }
    ]


def test_a_grpc_probe_names_its_service() -> None:
    made = cluster()
    check(grpc={"service": "shop.Orders"}).patch_cluster(made)
    (found,) = made.health_checks
    assert (found.grpc_health_check.service_name, found.grpc_health_check.authority) == (
        "shop.Orders",
        "orders",
    )


def test_a_tcp_probe_only_connects() -> None:
    made = cluster("db:postgres", http=False)
    check(tcp={}).patch_cluster(made)
    assert codec.to_dict(made)["health_checks"][0]["tcp_health_check"] == {}


def test_only_the_port_that_is_meant_is_probed() -> None:
    def clusters() -> tuple[v3.Cluster, ...]:
        names = ("orders", "orders/v2", "orders:rpc")
        return (*map(cluster, names), cluster("orders:raw", http=False))

    assert probed(check(http={"path": "/"}), *clusters()) == ["orders", "orders/v2"]
    assert probed(check(grpc={}, port="rpc"), *clusters()) == ["orders:rpc"]
    assert probed(check(grpc={}, port="raw"), *clusters()) == []
    assert probed(check(tcp={}), *clusters()) == ["orders", "orders/v2", "orders:rpc", "orders:raw"]
    assert probed(check(tcp={}, port="raw"), *clusters()) == ["orders:raw"]


def test_after_a_breaker_only_a_passing_probe_lets_an_instance_back() -> None:
    made = cluster()
    CircuitBreakerSpec.model_validate({"openFor": "2s"}).patch_cluster(made)
    check(http={"path": "/"}).patch_cluster(made)
    outlier = codec.to_dict(made)["outlier_detection"]
    assert (outlier["base_ejection_time"], outlier["max_ejection_time"]) == ("3600s", "3600s")
    assert outlier["successful_active_health_check_uneject_host"] is True
    assert outlier["interval"] == "0.200s"


def test_without_a_breaker_it_ejects_nothing_by_itself() -> None:
    made = cluster()
    check(http={"path": "/"}).patch_cluster(made)
    assert not made.HasField("outlier_detection")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "exactly one"),
        ({"http": {"path": "/"}, "tcp": {}}, "exactly one"),
        ({"http": {"path": "live"}}, "pattern"),
        ({"http": {"path": "/a b"}}, "pattern"),
        ({"tcp": {}, "interval": "10ms"}, "at least 100ms"),
        ({"tcp": {}, "timeout": "0s"}, "at least 100ms"),
        ({"http": {"path": "/", "expectedStatuses": [99]}}, "greater than or equal to 100"),
    ],
)
def test_what_makes_no_sense_is_refused(spec: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        check(**spec)


def test_it_runs_after_the_breaker() -> None:
    assert (HealthCheck.order, HealthCheck.combine) == (500, "override")
