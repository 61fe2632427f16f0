"""The limit of each try of a request, which both Timeout and Retry may set on a route."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshwright.control_plane.envoy import v3


def cap_per_try_timeout(route: v3.Route, limit: timedelta | None) -> None:
    """Let no try last longer than `limit`; zero or None is no limit, and a shorter one already set stays.

    Envoy applies `per_try_timeout` to the only try as well when nothing is retried, and then answers 504; it
    ignores one that is not below the route's `timeout`.
    """
    if not limit:
        return
    policy = route.route.retry_policy
    if not policy.HasField("per_try_timeout") or policy.per_try_timeout.ToTimedelta() > limit:
        policy.per_try_timeout.FromTimedelta(limit)
