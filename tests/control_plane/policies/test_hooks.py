"""Retry, Timeout and MutualTLS on Envoy's messages."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from pydantic import ValidationError

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.base import TargetedSpec, TargetRef
from meshwright.control_plane.policies.mutualtls.spec import MutualTLSMode, MutualTLSSpec, strictest
from meshwright.control_plane.policies.retry.spec import Retry, RetrySpec
from meshwright.control_plane.policies.timeout.spec import Timeout, TimeoutSpec


def retry(**spec: Any) -> RetrySpec:
    return RetrySpec.model_validate(spec)


def timeout(**spec: Any) -> TimeoutSpec:
    return TimeoutSpec.model_validate(spec)


def route(method: str = "") -> v3.Route:
    made = v3.Route(
        name="r",
        match=v3.RouteMatch(prefix="/"),
        route=v3.RouteAction(cluster="orders", timeout=timedelta(0)),
    )
    if method:
        made.match.headers.append(
            v3.HeaderMatcher(name=":method", string_match=v3.StringMatcher(exact=method))
        )
    return made


def taken(routes: list[v3.Route], method: str, key: bool, grpc: bool = False) -> v3.RetryPolicy:
    """The retry policy of the first route that a request matches, as Envoy chooses."""
    for one in routes:
        if one.match.HasField("grpc") and not grpc:
            continue
        if all(_matches(header, method, key) for header in one.match.headers):
            return one.route.retry_policy
    raise AssertionError("no route takes this request")


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
def test_idempotent_methods_are_repeated(method: str, key: bool) -> None:
    for routes in (retry().patch_route(route()), retry().patch_route(route(method))):
        assert taken(routes, method, key).retry_on == SENT


@pytest.mark.parametrize("method", ["POST", "PATCH", "CONNECT", "UNHEARD"])
def test_other_methods_are_repeated_with_a_key_only(method: str) -> None:
    for routes in (retry().patch_route(route()), retry().patch_route(route(method))):
        assert taken(routes, method, key=True).retry_on == SENT
        assert taken(routes, method, key=False).retry_on == NOT_SENT


@pytest.mark.parametrize(("method", "count"), [("", 3), ("GET", 1), ("POST", 2)])
def test_no_more_routes_than_needed(method: str, count: int) -> None:
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
def test_what_may_have_been_sent_is_never_repeated_unless_idempotent(on: list[Any], rest: str) -> None:
    policy = taken(retry(on=on).patch_route(route()), "POST", key=False)
    assert policy.retry_on == rest
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
def test_a_grpc_call_is_repeated_where_its_statuses_are_named(spec: Any, expected: str) -> None:
    routes = retry(**spec).patch_route(route())
    assert taken(routes, "POST", key=False, grpc=True).retry_on == expected
    assert "unavailable" not in taken(routes, "POST", key=False).retry_on


def test_a_route_of_grpc_calls_alone_is_not_split_where_statuses_are_named() -> None:
    calls = route()
    calls.match.grpc.SetInParent()
    (only,) = retry(on=["internal"]).patch_route(calls)
    assert only.route.retry_policy.retry_on == "internal"


def test_all_that_envoy_is_told() -> None:
    spec = retry(
        attempts=4, on=["5xx", 429, 409], backoff={"base": "10ms", "max": "1s"}, perTryTimeout="300ms"
    )
    (only,) = spec.patch_route(route("GET"))
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


def test_split_routes_differ_in_nothing_but_match_and_retries() -> None:
    source = route()
    source.metadata.filter_metadata["meshwright"].update({"policies": ["Retry/a"]})
    whole = codec.to_dict(source)
    for one in retry().patch_route(source):
        one.route.ClearField("retry_policy")
        del one.match.headers[:]
        assert codec.to_dict(one) == whole


def test_no_attempts_means_no_retries_but_the_limit_of_the_try() -> None:
    (only,) = retry(attempts=0, perTryTimeout="1s").patch_route(route())
    assert codec.to_dict(only.route.retry_policy) == {"per_try_timeout": "1s"}


@pytest.mark.parametrize(
    "spec", [retry(perTryTimeout="1s"), timeout(request="1s", backendRequest="1s", idle="1s")]
)
def test_routes_that_send_nothing_stay_as_they_are(spec: TargetedSpec) -> None:
    redirect = v3.Route(match=v3.RouteMatch(prefix="/"), redirect=v3.RedirectAction(https_redirect=True))
    before = codec.encode(redirect)
    assert [codec.encode(one) for one in spec.patch_route(redirect)] == [before]


def test_timeouts_on_the_route() -> None:
    (only,) = timeout(request="500ms", idle="1m").patch_route(route())
    assert codec.to_dict(only.route) == {"cluster": "orders", "timeout": "0.500s", "idle_timeout": "60s"}


def test_a_timeout_left_out_stays_and_zero_takes_it_off() -> None:
    source = route()
    source.route.timeout.FromTimedelta(timedelta(seconds=3))
    (kept,) = timeout(idle="0s").patch_route(source)
    assert codec.to_dict(kept.route) == {"cluster": "orders", "timeout": "3s", "idle_timeout": "0s"}
    (off,) = timeout(request="0s", backendRequest="0s").patch_route(source)
    assert codec.to_dict(off.route) == {"cluster": "orders", "timeout": "0s", "idle_timeout": "0s"}


def test_the_limit_of_a_try_holds_without_retries() -> None:
    (only,) = timeout(backendRequest="500ms").patch_route(route())
    assert codec.to_dict(only.route.retry_policy) == {"per_try_timeout": "0.500s"}


@pytest.mark.parametrize(("backend", "per_try"), [("500ms", "2s"), ("2s", "500ms")])
def test_timeout_and_retry_combine_in_any_order(backend: str, per_try: str) -> None:
    results = []
    for specs in permutations([timeout(request="5s", backendRequest=backend), retry(perTryTimeout=per_try)]):
        found = [route()]
        for spec in specs:
            found = [split for one in found for split in spec.patch_route(one)]
        results.append([codec.encode(one) for one in found])
        assert len(found) == 3
        for one in found:
            assert one.route.retry_policy.per_try_timeout.ToTimedelta() == timedelta(milliseconds=500)
            assert one.route.timeout.ToTimedelta() == timedelta(seconds=5)
            assert one.route.retry_policy.retry_on
    assert results[0] == results[1]


def test_budget_is_merged_with_other_limits() -> None:
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


def test_a_retry_always_has_a_budget() -> None:
    cluster = v3.Cluster(name="orders")
    retry().patch_cluster(cluster)
    assert codec.to_dict(cluster.circuit_breakers)["thresholds"] == [
        {"retry_budget": {"budget_percent": {"value": 20.0}, "min_retry_concurrency": 20}}
    ]


def test_fields_that_can_do_nothing_say_so() -> None:
    service, on_route = TargetRef(kind="Service", name="a"), TargetRef(kind="HTTPRoute", name="a")
    assert retry(budget={}).inapplicable_reason(service) == ""
    assert retry().inapplicable_reason(on_route) == ""
    assert "whole destination" in retry(budget={}).inapplicable_reason(on_route)


def test_timeout_comes_before_retry() -> None:
    assert Timeout.order < Retry.order


def test_mutual_tls_is_the_same_for_all_callers() -> None:
    with pytest.raises(ValidationError, match="all callers"):
        MutualTLSSpec.model_validate({"from": ["a"]})


@pytest.mark.parametrize(
    ("modes", "mode"),
    [
        ([], "Strict"),
        (["Disabled"], "Disabled"),
        (["Permissive", "Disabled"], "Permissive"),
        (["Disabled", "Strict", "Permissive"], "Strict"),
    ],
)
def test_the_strictest_mode_holds(modes: list[MutualTLSMode], mode: MutualTLSMode) -> None:
    assert strictest(modes) == mode


def test_hedging_is_for_what_may_be_repeated_only() -> None:
    spec = retry(perTryTimeout="100ms", hedgeOnPerTryTimeout=True)
    by_method, by_key, rest = spec.patch_route(route())
    assert by_method.route.hedge_policy.hedge_on_per_try_timeout
    assert by_key.route.hedge_policy.hedge_on_per_try_timeout
    assert not rest.route.HasField("hedge_policy")
    (get,) = spec.patch_route(route("GET"))
    assert get.route.hedge_policy.hedge_on_per_try_timeout


@pytest.mark.parametrize("spec", [{}, {"perTryTimeout": "0s"}, {"perTryTimeout": "1s", "attempts": 0}])
def test_hedging_needs_a_limit_of_each_try_and_another_try(spec: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="give perTryTimeout"):
        retry(hedgeOnPerTryTimeout=True, **spec)
