"""TimeoutHooks on Envoy's routes."""

from __future__ import annotations

from datetime import timedelta

from meshwright.control_plane.envoy import codec
from tests.control_plane.policies.test_retry import route, timeout


def test_patch_route_sets_request_and_idle_timeouts() -> None:
    (only,) = timeout(request="500ms", idle="1m").patch_route(route())
    assert codec.to_dict(only.route) == {"cluster": "orders", "timeout": "0.500s", "idle_timeout": "60s"}


def test_patch_route_keeps_omitted_timeouts_and_zero_removes_them() -> None:
    source = route()
    source.route.timeout.FromTimedelta(timedelta(seconds=3))
    (unchanged,) = timeout(idle="0s").patch_route(source)
    assert codec.to_dict(unchanged.route) == {"cluster": "orders", "timeout": "3s", "idle_timeout": "0s"}
    (unlimited,) = timeout(request="0s", backendRequest="0s").patch_route(source)
    assert codec.to_dict(unlimited.route) == {"cluster": "orders", "timeout": "0s", "idle_timeout": "0s"}


def test_patch_route_limits_the_try_without_retries() -> None:
    (only,) = timeout(backendRequest="500ms").patch_route(route())
    assert codec.to_dict(only.route.retry_policy) == {"per_try_timeout": "0.500s"}
