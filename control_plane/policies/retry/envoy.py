"""Retry on Envoy's routes: which requests are safe to repeat, and on which failures.

A request that may have been sent is retried only when its method is idempotent or it carries
`Idempotency-Key`. So one route becomes up to three that differ in what they match: idempotent methods,
requests with a key, the rest. Every gRPC call is a POST: a Retry that lists gRPC statuses declares the calls
safe to repeat, and they get a route of their own before the others.

Conditions on connections apply to the one between the callee's sidecar and its app too (app_failure.py).
"""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.hooks import Hooks, Symptom
from meshwright.control_plane.policies.per_try_timeout import cap_per_try_timeout
from meshwright.control_plane.policies.retry import app_failure
from meshwright.control_plane.policies.retry.spec import RetryBackoff, RetrySpec
from meshwright.control_plane.policies.thresholds import default_thresholds

IDEMPOTENT = ("GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE")
"""RFC 9110 section 9.2.2. CONNECT, PATCH and POST are not idempotent."""

KEY_HEADER = "idempotency-key"

# Envoy reports these before a request was sent; the three wider conditions include both
# (its documentation of x-envoy-retry-on).
_NOT_SENT = ("connect-failure", "refused-stream")
_WIDER = frozenset({"5xx", "gateway-error", "reset"})

GRPC_STATUSES = frozenset({"cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable"})

_PREVIOUS_HOSTS = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
_HOST_SELECTION_ATTEMPTS = 20
"""How often Envoy picks another host while it picks one that was tried; then it takes what it has.

When one of two hosts has died, it has no requests in flight, so least-request picks the other one in only a
quarter of all cases: with five attempts a fifth of all retries went to the dead host.
"""


DEFAULT = RetrySpec.model_construct(
    attempts=2, on=_NOT_SENT, backoff=RetryBackoff(), per_try_timeout=None, hedge_on_per_try_timeout=False
)
"""What is retried without a Retry: failures before anything was sent, which is safe for every request."""


def set_default(route: v3.Route, spec: RetrySpec = DEFAULT) -> None:
    """Retry on another instance what was never sent, where no Retry applies."""
    if route.HasField("route") and not route.route.HasField("retry_policy"):
        _set_retry_policy(spec, route, spec.on)


PATIENT = DEFAULT.model_copy(
    update={
        "attempts": 10,
        "backoff": RetryBackoff(base=timedelta(milliseconds=100), max=timedelta(seconds=1)),
    }
)
"""The same where the callee may hear of the route after the caller, as a gateway that leads outside does.

The tries are spread over four seconds on average."""


class RetryHooks(Hooks[RetrySpec]):
    """Retries on routes, the budget on the cluster."""

    explains: ClassVar[tuple[Symptom, ...]] = (
        Symptom("UT", ("perTryTimeout",), details="per_try", statistic="upstream_rq_per_try_timeout"),
        Symptom("URX", ("attempts", "on"), statistic="upstream_rq_retry"),
    )

    def patch_route(self, route: v3.Route) -> list[v3.Route]:
        """Split the route by what is safe to repeat; `route` itself may be changed."""
        return split_by_safety(self.spec, route)

    def patch_cluster(self, cluster: v3.Cluster) -> None:
        """Set the budget in the default priority's thresholds; it replaces the limit of `max_retries`."""
        budget = default_thresholds(cluster).retry_budget
        budget.budget_percent.value = self.spec.budget.percent
        budget.min_retry_concurrency.value = self.spec.budget.min_concurrency


def split_by_safety(spec: RetrySpec, route: v3.Route) -> list[v3.Route]:
    """The routes that replace `route`, in the order in which to try them."""
    if not route.HasField("route"):
        return [route]
    cap_per_try_timeout(route, spec.per_try_timeout)
    if spec.attempts == 0:
        return [route]
    if not GRPC_STATUSES.intersection(spec.on):
        return _split_http(spec, route)
    grpc = _copy(route)
    grpc.match.grpc.SetInParent()
    _set_retry_policy(spec, grpc, _grpc_conditions(spec, grpc))
    return [grpc] if route.match.HasField("grpc") else [grpc, *_split_http(spec, route)]


def _grpc_conditions(spec: RetrySpec, route: v3.Route) -> tuple[str | int, ...]:
    """Envoy recognises gRPC statuses only in the server's response. To the caller a broken connection is
    UNAVAILABLE too, and a try that timed out DEADLINE_EXCEEDED: Envoy sees both as resets."""
    timed = "deadline-exceeded" in spec.on and route.route.retry_policy.HasField("per_try_timeout")
    if "reset" not in spec.on and ("unavailable" in spec.on or timed):
        return (*spec.on, "reset")
    return spec.on


def _split_http(spec: RetrySpec, route: v3.Route) -> list[v3.Route]:
    method = _method(route)
    if method in IDEMPOTENT:
        _retry_sent_requests(spec, route)
        return [route]
    routes = []
    if not method:
        by_method = _copy(route)
        header = by_method.match.headers.add(name=":method")
        header.string_match.safe_regex.regex = "|".join(IDEMPOTENT)
        _retry_sent_requests(spec, by_method)
        routes.append(by_method)
    by_key = _copy(route)
    by_key.match.headers.add(name=KEY_HEADER, present_match=True)
    _retry_sent_requests(spec, by_key)
    _set_retry_policy(spec, route, _not_sent(spec.on))
    return [*routes, by_key, route]


def _method(route: v3.Route) -> str:
    """The single method that the route matches; empty when it matches several."""
    methods = (match for match in route.match.headers if match.name == ":method" and not match.invert_match)
    return next((match.string_match.exact for match in methods), "")


def _copy(route: v3.Route) -> v3.Route:
    copy = type(route)()
    copy.CopyFrom(route)
    return copy


def _not_sent(on: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Those of the conditions that occur before anything was sent."""
    return _NOT_SENT if _WIDER.intersection(on) else tuple(name for name in _NOT_SENT if name in on)


def _retry_sent_requests(spec: RetrySpec, route: v3.Route) -> None:
    """Retry requests that may have been sent, too."""
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
    policy.retriable_headers.extend(app_failure.matchers(on))
    if policy.retriable_headers:
        names.append(app_failure.RETRY_ON)
    policy.retry_on = ",".join(names)
    policy.num_retries.value = spec.attempts
    policy.retry_back_off.base_interval.FromTimedelta(spec.backoff.base)
    policy.retry_back_off.max_interval.FromTimedelta(spec.backoff.max)
    predicate = policy.retry_host_predicate.add(name="envoy.retry_host_predicates.previous_hosts")
    predicate.typed_config.type_url = f"type.googleapis.com/{_PREVIOUS_HOSTS}"
    policy.host_selection_retry_max_attempts = _HOST_SELECTION_ATTEMPTS
