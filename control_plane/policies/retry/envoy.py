"""Retry on Envoy's routes: which requests may be repeated, and on which failures.

A request that was sent is repeated only when its method is idempotent or it carries `Idempotency-Key`. So one
route becomes up to three that differ in what they match: idempotent methods, requests with a key, the rest.
Every gRPC call is a POST: a Retry that names gRPC statuses says of the calls that they may be repeated, and
they get a route of their own, before the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshwright.control_plane.policies.per_try_timeout import cap_per_try_timeout

if TYPE_CHECKING:
    from meshwright.control_plane.envoy import v3
    from meshwright.control_plane.policies.retry.spec import RetrySpec

# RFC 9110 section 9.2.2; CONNECT, PATCH and POST are not among them.
IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
KEY_HEADER = "idempotency-key"

# Envoy reports these before a request was sent; the three wider conditions include both
# (its documentation of x-envoy-retry-on).
_NOT_SENT = ("connect-failure", "refused-stream")
_WIDER = frozenset({"5xx", "gateway-error", "reset"})

GRPC_STATUSES = frozenset({"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"})

_PREVIOUS_HOSTS = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
_OTHER_HOST_SEARCHES = 20
"""How often Envoy picks a host anew while it finds one that was tried; then it takes what it has.

Of two hosts the one that died has no request under way, so the least loaded one of two random picks is the
other one in a quarter of all cases only: after five searches a fifth of all retries went to the dead host.
"""


def split_by_safety(spec: RetrySpec, route: v3.Route) -> list[v3.Route]:
    """The routes that take the place of `route`, to be tried in this order; `route` itself may be changed."""
    if not route.HasField("route"):
        return [route]
    cap_per_try_timeout(route, spec.per_try_timeout)
    if spec.attempts == 0:
        return [route]
    if not GRPC_STATUSES.intersection(spec.on):
        return _split_http(spec, route)
    calls = _copy(route)
    calls.match.grpc.SetInParent()
    _set_retry_policy(spec, calls, _grpc_conditions(spec, calls))
    return [calls] if route.match.HasField("grpc") else [calls, *_split_http(spec, route)]


def _grpc_conditions(spec: RetrySpec, route: v3.Route) -> tuple[str | int, ...]:
    """Envoy tells these statuses only by what the server answered. To the caller a broken connection is
    UNAVAILABLE too, and a try that ran out of its time DEADLINE_EXCEEDED: both are resets to Envoy."""
    timed = "deadline-exceeded" in spec.on and route.route.retry_policy.HasField("per_try_timeout")
    if "reset" not in spec.on and ("unavailable" in spec.on or timed):
        return (*spec.on, "reset")
    return spec.on


def _split_http(spec: RetrySpec, route: v3.Route) -> list[v3.Route]:
    method = _method(route)
    if method in IDEMPOTENT:
        _retry_safely_repeatable(spec, route)
        return [route]
    routes = []
    if not method:
        by_method = _copy(route)
        header = by_method.match.headers.add(name=":method")
        header.string_match.safe_regex.regex = "|".join(IDEMPOTENT)
        _retry_safely_repeatable(spec, by_method)
        routes.append(by_method)
    by_key = _copy(route)
    by_key.match.headers.add(name=KEY_HEADER, present_match=True)
    _retry_safely_repeatable(spec, by_key)
    _set_retry_policy(spec, route, _not_sent(spec.on))
    return [*routes, by_key, route]


def _method(route: v3.Route) -> str:
    """The one method that the route matches; empty when it matches several."""
    named = (header for header in route.match.headers if header.name == ":method" and not header.invert_match)
    return next((header.string_match.exact for header in named), "")


def _copy(route: v3.Route) -> v3.Route:
    twin = type(route)()
    twin.CopyFrom(route)
    return twin


def _not_sent(on: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Those of the failures that come before anything was sent."""
    return _NOT_SENT if _WIDER.intersection(on) else tuple(name for name in _NOT_SENT if name in on)


def _retry_safely_repeatable(spec: RetrySpec, route: v3.Route) -> None:
    """Retry what may have been sent, too."""
    _set_retry_policy(spec, route, spec.on)
    if spec.hedge_on_per_try_timeout:
        route.route.hedge_policy.hedge_on_per_try_timeout = True


def _set_retry_policy(spec: RetrySpec, route: v3.Route, on: tuple[str | int, ...]) -> None:
    if not on:
        return
    policy = route.route.retry_policy
    names = [name for name in on if isinstance(name, str)]
    codes = [code for code in on if isinstance(code, int)]
    if codes:
        names.append("retriable-status-codes")
        policy.retriable_status_codes.extend(codes)
    policy.retry_on = ",".join(names)
    policy.num_retries.value = spec.attempts
    policy.retry_back_off.base_interval.FromTimedelta(spec.backoff.base)
    policy.retry_back_off.max_interval.FromTimedelta(spec.backoff.max)
    predicate = policy.retry_host_predicate.add(name="envoy.retry_host_predicates.previous_hosts")
    predicate.typed_config.type_url = f"type.googleapis.com/{_PREVIOUS_HOSTS}"
    policy.host_selection_retry_max_attempts = _OTHER_HOST_SEARCHES
