"""HealthCheckHooks on Envoy's clusters."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.circuitbreaker.envoy import CircuitBreakerHooks
from meshwright.control_plane.policies.circuitbreaker.spec import CircuitBreakerSpec
from meshwright.control_plane.policies.healthcheck.envoy import HTTP_OPTIONS, HealthCheckHooks
from meshwright.control_plane.policies.healthcheck.spec import HealthCheck, HealthCheckSpec


def check(**spec: Any) -> HealthCheckHooks:
    return HealthCheckHooks(HealthCheckSpec.model_validate(spec))


def cluster(name: str = "orders", http: bool = True) -> v3.Cluster:
    result = v3.Cluster(name=name)
    if http:
        result.typed_extension_protocol_options[HTTP_OPTIONS].CopyFrom(codec.pack(v3.HttpProtocolOptions()))
    return result


def probed(hooks: HealthCheckHooks, *clusters: v3.Cluster) -> list[str]:
    for target in clusters:
        hooks.patch_cluster(target)
    return [target.name for target in clusters if target.health_checks]


def test_patch_cluster_http_probe_uses_http2() -> None:
    target = cluster("orders/v2")
    check(http={"path": "/live", "expectedStatuses": [204, 200]}, interval="2s").patch_cluster(target)
    assert codec.to_dict(target)["health_checks"] == [
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


def test_patch_cluster_grpc_probe_sets_service_and_authority() -> None:
    target = cluster()
    check(grpc={"service": "shop.Orders"}).patch_cluster(target)
    (health_check,) = target.health_checks
    assert (health_check.grpc_health_check.service_name, health_check.grpc_health_check.authority) == (
        "shop.Orders",
        "orders",
    )


def test_patch_cluster_tcp_probe_only_connects() -> None:
    target = cluster("db:postgres", http=False)
    check(tcp={}).patch_cluster(target)
    assert codec.to_dict(target)["health_checks"][0]["tcp_health_check"] == {}


def test_patch_cluster_probes_only_the_selected_port() -> None:
    def clusters() -> tuple[v3.Cluster, ...]:
        names = ("orders", "orders/v2", "orders:rpc")
        return (*map(cluster, names), cluster("orders:raw", http=False))

    assert probed(check(http={"path": "/"}), *clusters()) == ["orders", "orders/v2"]
    assert probed(check(grpc={}, port="rpc"), *clusters()) == ["orders:rpc"]
    assert probed(check(grpc={}, port="raw"), *clusters()) == []
    assert probed(check(tcp={}), *clusters()) == ["orders", "orders/v2", "orders:rpc", "orders:raw"]
    assert probed(check(tcp={}, port="raw"), *clusters()) == ["orders:raw"]


def test_patch_cluster_after_circuit_breaker_readmits_by_probe_only() -> None:
    target = cluster()
    CircuitBreakerHooks(CircuitBreakerSpec.model_validate({"openFor": "2s"})).patch_cluster(target)
    check(http={"path": "/"}).patch_cluster(target)
    outlier = codec.to_dict(target)["outlier_detection"]
    assert (outlier["base_ejection_time"], outlier["max_ejection_time"]) == ("3600s", "3600s")
    assert outlier["successful_active_health_check_uneject_host"] is True
    assert outlier["interval"] == "0.200s"


def test_patch_cluster_without_circuit_breaker_does_not_eject() -> None:
    target = cluster()
    check(http={"path": "/"}).patch_cluster(target)
    assert not target.HasField("outlier_detection")


@pytest.mark.parametrize(
    ("spec", "message"),
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
def test_invalid_spec_is_rejected(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        check(**spec)


def test_runs_after_circuit_breaker() -> None:
    assert (HealthCheck.order, HealthCheck.combine) == (500, "override")
