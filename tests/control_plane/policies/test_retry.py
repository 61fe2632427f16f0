"""RetryHooks on Envoy's routes and clusters."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from pydantic import ValidationError

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.base import TargetRef
from meshwright.control_plane.policies.hooks import Hooks
from meshwright.control_plane.policies.retry.envoy import RetryHooks
from meshwright.control_plane.policies.retry.spec import Retry, RetrySpec
from meshwright.control_plane.policies.timeout.envoy import TimeoutHooks
from meshwright.control_plane.policies.timeout.spec import Timeout, TimeoutSpec


def retry(**spec: Any) -> RetryHooks:
    return RetryHooks(RetrySpec.model_validate(spec))


def timeout(**spec: Any) -> TimeoutHooks:
    return TimeoutHooks(TimeoutSpec.model_validate(spec))


def route(method: str = "") -> v3.Route:
    result = v3.Route(
        name="r",
        match=v3.RouteMatch(prefix="/"),
        route=v3.RouteAction(cluster="orders", timeout=timedelta(0)),
    )
    if method:
        result.match.headers.append(
            v3.HeaderMatcher(name=":method", string_match=v3.StringMatcher(exact=method))
        )
    return result


def conditions(policy: v3.RetryPolicy) -> str:
    """Envoy's conditions without that of a failure at the app, which accompanies those of connections."""
    return policy.retry_on.removesuffix(",retriable-headers")


def policy_for(routes: list[v3.Route], method: str, key: bool, grpc: bool = False) -> v3.RetryPolicy:
    """The retry policy of the first route that matches a request, as Envoy picks it."""
    for candidate in routes:
        if candidate.match.HasField("grpc") and not grpc:
            continue
        if all(_matches(header, method, key) for header in candidate.match.headers):
            return candidate.route.retry_policy
    raise AssertionError("no route matches this request")


def _matches(header: v3.HeaderMatcher, method: str, key: bool) -> bool:
    if header.name == "idempotency-key":
        assert header.present_match
        return key
    assert header.name == ":method"
    exact = header.string_match.exact
    return method == exact if exact else method in header.string_match.safe_regex.regex.split("|")


SENT = "gateway-error,reset,connect-failure,refused-stream"
NOT_SENT = "connect-failure,refused-stream"


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"])
@pytest.mark.parametrize("key", [False, True])
def test_patch_route_idempotent_method_retries_sent_requests(method: str, key: bool) -> None:
    for routes in (retry().patch_route(route()), retry().patch_route(route(method))):
        assert conditions(policy_for(routes, method, key)) == SENT


@pytest.mark.parametrize("method", ["POST", "PATCH", "CONNECT", "UNKNOWN"])
def test_patch_route_other_method_retries_sent_requests_only_with_key(method: str) -> None:
    for routes in (retry().patch_route(route()), retry().patch_route(route(method))):
        assert conditions(policy_for(routes, method, key=True)) == SENT
        assert conditions(policy_for(routes, method, key=False)) == NOT_SENT


@pytest.mark.parametrize(("method", "count"), [("", 3), ("GET", 1), ("POST", 2)])
def test_patch_route_splits_into_as_few_routes_as_possible(method: str, count: int) -> None:
    assert len(retry().patch_route(route(method))) == count


@pytest.mark.parametrize(
    ("on", "rest"),
    [
        (["5xx"], NOT_SENT),
        (["reset"], NOT_SENT),
        (["retriable-4xx", "connect-failure"], "connect-failure"),
        ([503], ""),
        (["unavailable", "deadline-exceeded"], ""),
    ],
)
def test_patch_route_without_key_keeps_only_conditions_before_sending(on: list[Any], rest: str) -> None:
    policy = policy_for(retry(on=on).patch_route(route()), "POST", key=False)
    assert conditions(policy) == rest
    assert not policy.retriable_status_codes
    assert policy.HasField("num_retries") == bool(rest)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, NOT_SENT),
        ({"on": ["5xx"]}, NOT_SENT),
        ({"on": ["internal"]}, "internal"),
        ({"on": ["internal", "refused-stream"]}, "internal,refused-stream"),
        ({"on": ["unavailable"]}, "unavailable,reset"),
        ({"on": ["unavailable", "reset"]}, "unavailable,reset"),
        ({"on": ["deadline-exceeded"]}, "deadline-exceeded"),
        ({"on": ["deadline-exceeded"], "perTryTimeout": "1s"}, "deadline-exceeded,reset"),
    ],
)
def test_patch_route_grpc_status_listed_retries_calls(spec: Any, expected: str) -> None:
    routes = retry(**spec).patch_route(route())
    assert conditions(policy_for(routes, "POST", key=False, grpc=True)) == expected
    assert "unavailable" not in policy_for(routes, "POST", key=False).retry_on


def test_patch_route_grpc_only_route_is_not_split() -> None:
    calls = route()
    calls.match.grpc.SetInParent()
    (only,) = retry(on=["internal"]).patch_route(calls)
    assert conditions(only.route.retry_policy) == "internal"


def test_patch_route_sets_every_field_of_the_retry_policy() -> None:
    hooks = retry(
        attempts=4, on=["5xx", 429, 409], backoff={"base": "10ms", "max": "1s"}, perTryTimeout="300ms"
    )
    (only,) = hooks.patch_route(route("GET"))
    assert codec.to_dict(only.route) == {
        "cluster": "orders",
        "timeout": "0s",
        "retry_policy": {
            "retry_on": "5xx,retriable-status-codes",
            "num_retries": 4,
            "per_try_timeout": "0.300s",
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3."
                        "PreviousHostsPredicate"
                    },
                }
            ],
            "host_selection_retry_max_attempts": "20",
            "retriable_status_codes": [429, 409],
            "retry_back_off": {"base_interval": "0.010s", "max_interval": "1s"},
        },
    }


def test_split_routes_differ_only_in_match_and_retry_policy() -> None:
    source = route()
    source.metadata.filter_metadata["meshwright"].update({"policies": ["Retry/a"]})
    original = codec.to_dict(source)
    for split in retry().patch_route(source):
        split.route.ClearField("retry_policy")
        del split.match.headers[:]
        assert codec.to_dict(split) == original


def test_patch_route_zero_attempts_keeps_per_try_timeout() -> None:
    (only,) = retry(attempts=0, perTryTimeout="1s").patch_route(route())
    assert codec.to_dict(only.route.retry_policy) == {"per_try_timeout": "1s"}


@pytest.mark.parametrize(
    "hooks", [retry(perTryTimeout="1s"), timeout(request="1s", backendRequest="1s", idle="1s")]
)
def test_patch_route_leaves_redirects_unchanged(hooks: Hooks[Any]) -> None:
    redirect = v3.Route(match=v3.RouteMatch(prefix="/"), redirect=v3.RedirectAction(https_redirect=True))
    before = codec.encode(redirect)
    assert [codec.encode(item) for item in hooks.patch_route(redirect)] == [before]


@pytest.mark.parametrize(("backend", "per_try"), [("500ms", "2s"), ("2s", "500ms")])
def test_timeout_and_retry_give_the_same_routes_in_any_order(backend: str, per_try: str) -> None:
    results = []
    kinds: list[Hooks[Any]] = [timeout(request="5s", backendRequest=backend), retry(perTryTimeout=per_try)]
    for ordered in permutations(kinds):
        routes = [route()]
        for hooks in ordered:
            routes = [split for patched in routes for split in hooks.patch_route(patched)]
        results.append([codec.encode(patched) for patched in routes])
        assert len(routes) == 3
        for patched in routes:
            assert patched.route.retry_policy.per_try_timeout.ToTimedelta() == timedelta(milliseconds=500)
            assert patched.route.timeout.ToTimedelta() == timedelta(seconds=5)
            assert patched.route.retry_policy.retry_on
    assert results[0] == results[1]


def test_patch_cluster_merges_budget_into_default_thresholds() -> None:
    cluster = v3.Cluster(name="orders")
    high = cluster.circuit_breakers.thresholds.add(priority=1)
    high.max_requests.value = 7
    default = cluster.circuit_breakers.thresholds.add()
    default.max_requests.value = 9
    default.retry_budget.budget_percent.value = 1
    retry(budget={"percent": 50, "minConcurrency": 3}).patch_cluster(cluster)
    assert codec.to_dict(cluster.circuit_breakers)["thresholds"] == [
        {"priority": "HIGH", "max_requests": 7},
        {"max_requests": 9, "retry_budget": {"budget_percent": {"value": 50.0}, "min_retry_concurrency": 3}},
    ]


def test_patch_cluster_without_budget_sets_the_default_one() -> None:
    cluster = v3.Cluster(name="orders")
    retry().patch_cluster(cluster)
    assert codec.to_dict(cluster.circuit_breakers)["thresholds"] == [
        {"retry_budget": {"budget_percent": {"value": 20.0}, "min_retry_concurrency": 20}}
    ]


def test_inapplicable_reason_budget_on_a_route() -> None:
    service, on_route = TargetRef(kind="Service", name="a"), TargetRef(kind="HTTPRoute", name="a")
    assert retry(budget={}).spec.inapplicable_reason(service) == ""
    assert retry().spec.inapplicable_reason(on_route) == ""
    assert "whole destination" in retry(budget={}).spec.inapplicable_reason(on_route)


def test_timeout_runs_before_retry() -> None:
    assert Timeout.order < Retry.order


def test_hedging_applies_only_to_requests_that_are_safe_to_repeat() -> None:
    hooks = retry(perTryTimeout="100ms", hedgeOnPerTryTimeout=True)
    by_method, by_key, rest = hooks.patch_route(route())
    assert by_method.route.hedge_policy.hedge_on_per_try_timeout
    assert by_key.route.hedge_policy.hedge_on_per_try_timeout
    assert not rest.route.HasField("hedge_policy")
    (get,) = hooks.patch_route(route("GET"))
    assert get.route.hedge_policy.hedge_on_per_try_timeout


@pytest.mark.parametrize("spec", [{}, {"perTryTimeout": "0s"}, {"perTryTimeout": "1s", "attempts": 0}])
def test_hedging_without_per_try_timeout_or_attempts_is_rejected(spec: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="set perTryTimeout"):
        retry(hedgeOnPerTryTimeout=True, **spec)


CONNECTIONS = {
    "connect-failure": "upstream_reset_before_response_started{remote_connection_failure|delayed}",
    "reset": "upstream_reset_before_response_started{connection_termination}",
    "refused-stream": "upstream_reset_before_response_started{remote_refused_stream_reset}",
}


@pytest.mark.parametrize(
    ("on", "method", "retried"),
    [
        (["reset"], "GET", {"reset", "connect-failure", "refused-stream"}),
        (["connect-failure"], "GET", {"connect-failure"}),
        (["refused-stream"], "GET", {"refused-stream"}),
        (["gateway-error", "reset", "connect-failure"], "POST", {"connect-failure", "refused-stream"}),
        (["connect-failure"], "POST", {"connect-failure"}),
        (["5xx"], "POST", {"connect-failure", "refused-stream"}),
        (["retriable-4xx", 429], "GET", set()),
    ],
)
def test_failed_connection_to_the_app_is_retried_as_one_to_its_sidecar(
    on: list[str | int], method: str, retried: set[str]
) -> None:
    policy = policy_for(retry(on=on).patch_route(route()), method, key=False)
    retriable = {
        name
        for name, details in CONNECTIONS.items()
        for header in policy.retriable_headers
        if header.string_match.contains in details
    }
    assert retriable == retried
    assert ("retriable-headers" in policy.retry_on.split(",")) is bool(retried)
