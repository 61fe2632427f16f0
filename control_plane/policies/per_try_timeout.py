"""The per-try timeout of a route, which both Timeout and Retry may set."""

from __future__ import annotations

from datetime import timedelta

from meshwright.control_plane.envoy import v3


def cap_per_try_timeout(route: v3.Route, limit: timedelta | None) -> None:
    """Limit each try to `limit` unless a shorter limit is set; zero or None means no limit.

    Envoy applies `per_try_timeout` to the only try as well when nothing is retried, and then responds 504. It
    ignores a value that is not below the route's `timeout`.
    """
    if not limit:
        return
    policy = route.route.retry_policy
    if not policy.HasField("per_try_timeout") or policy.per_try_timeout.ToTimedelta() > limit:
        policy.per_try_timeout.FromTimedelta(limit)
