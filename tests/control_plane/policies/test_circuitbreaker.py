"""CircuitBreakerHooks on Envoy's clusters."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.circuitbreaker.envoy import CircuitBreakerHooks
from meshwright.control_plane.policies.circuitbreaker.spec import CircuitBreaker, CircuitBreakerSpec
from meshwright.control_plane.policies.hooks import Trial
from meshwright.control_plane.policies.retry.envoy import RetryHooks
from meshwright.control_plane.policies.retry.spec import RetrySpec


def breaker(**spec: Any) -> CircuitBreakerHooks:
    return CircuitBreakerHooks(CircuitBreakerSpec.model_validate(spec))


def test_patch_cluster_defaults_eject_after_five_failures_for_a_minute() -> None:
    cluster = v3.Cluster(name="orders")
    breaker().patch_cluster(cluster)
    outlier = codec.to_dict(cluster)["outlier_detection"]
    assert outlier == {
        "consecutive_5xx": 5,
        "interval": "1s",
        "base_ejection_time": "60s",
        "max_ejection_time": "60s",
        "max_ejection_percent": 100,
        "enforcing_consecutive_5xx": 100,
        "enforcing_success_rate": 0,
    }


def test_half_open_probe_leaves_envoy_time_for_the_trial() -> None:
    cluster, hooks = v3.Cluster(name="orders"), breaker(openFor="30s", halfOpen="probe")
    hooks.patch_cluster(cluster)
    assert cluster.outlier_detection.base_ejection_time.ToTimedelta() == timedelta(seconds=40)
    assert cluster.outlier_detection.max_ejection_time.ToTimedelta() == timedelta(seconds=40)
    assert (hooks.trial(), breaker(openFor="30s").trial()) == (Trial(timedelta(seconds=30)), None)


@pytest.mark.parametrize(
    ("open_for", "interval"),
    [("100ms", 0.05), ("500ms", 0.05), ("2s", 0.2), ("10s", 1.0), ("60s", 1.0), ("1h", 1.0)],
)
def test_patch_cluster_interval_is_a_tenth_of_open_for(open_for: str, interval: float) -> None:
    cluster = v3.Cluster()
    breaker(openFor=open_for).patch_cluster(cluster)
    assert cluster.outlier_detection.interval.ToTimedelta() == timedelta(seconds=interval)


def test_patch_cluster_limits_keep_the_retry_budget() -> None:
    cluster = v3.Cluster()
    RetryHooks(RetrySpec()).patch_cluster(cluster)
    breaker(maxConnections=1, maxPending=2, maxRequests=3).patch_cluster(cluster)
    (thresholds,) = codec.to_dict(cluster)["circuit_breakers"]["thresholds"]
    budget = thresholds.pop("retry_budget")
    assert thresholds == {"max_connections": 1, "max_pending_requests": 2, "max_requests": 3}
    assert budget["min_retry_concurrency"] == 20


def test_patch_cluster_omitted_limits_are_unchanged() -> None:
    cluster = v3.Cluster()
    cluster.circuit_breakers.thresholds.add().max_requests.value = 77
    breaker(maxPending=2).patch_cluster(cluster)
    (thresholds,) = cluster.circuit_breakers.thresholds
    assert (thresholds.max_requests.value, thresholds.max_pending_requests.value) == (77, 2)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"openFor": "50ms"}, "100ms to 1h"),
        ({"openFor": "61m"}, "100ms to 1h"),
        ({"halfOpen": "maybe"}, "'probe' or 'traffic'"),
        ({"consecutiveFailures": 0}, "greater than or equal to 1"),
        ({"maxPending": 0}, "greater than or equal to 1"),
        ({"maxRequests": "9"}, "valid integer"),
        ({"targetRefs": [{"kind": "HTTPRoute", "name": "r"}]}, "use one of ExternalService, Mesh, Service"),
    ],
)
def test_invalid_spec_is_rejected(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        breaker(**spec)


def test_runs_after_retry_and_before_health_check() -> None:
    assert (CircuitBreaker.order, CircuitBreaker.combine) == (400, "override")
