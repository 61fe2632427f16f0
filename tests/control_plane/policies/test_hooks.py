"""The hooks of all kinds: found by folder, filters ordered by phase, symptoms attributed to kinds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from meshwright.control_plane import policies
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies import hook_registry
from meshwright.control_plane.policies.hooks import FilterPhase, Hooks, ListenerDirection
from meshwright.control_plane.policies.model_fields import field_names, model_at
from meshwright.control_plane.policies.registry import example, kinds
from meshwright.control_plane.policies.retry.envoy import RetryHooks
from meshwright.control_plane.policies.retry.spec import RetrySpec
from meshwright.control_plane.policies.subset.spec import SubsetSpec
from meshwright.sidecar.bootstrap.telemetry import INCLUDED_STATS

DIRECTIONS: Sequence[ListenerDirection] = ("inbound", "outbound", "ingress")


def test_hook_classes_are_found_in_every_envoy_module() -> None:
    folders = {path.parent.name for path in Path(policies.__path__[0]).glob("*/envoy.py")}
    classes = hook_registry.hook_classes()
    assert {kind.lower() for kind, hooks in classes.items() if hooks is not Hooks} == folders
    assert [kinds()[kind].order for kind in classes] == sorted(kind.order for kind in kinds().values())


def test_hooks_for_a_spec_are_those_of_its_kind() -> None:
    assert type(hook_registry.hooks_for(RetrySpec())) is RetryHooks
    subset = SubsetSpec(service="a", labels=(("version", "v2"),))
    assert type(hook_registry.hooks_for(subset)) is Hooks


def test_overrides_knows_what_a_kind_implements() -> None:
    assert hook_registry.overrides(RetrySpec(), "patch_route")
    assert not hook_registry.overrides(RetrySpec(), "patch_listener")


@pytest.mark.parametrize(
    "kind", [kind for kind, hooks in hook_registry.hook_classes().items() if hooks is not Hooks]
)
@pytest.mark.parametrize("patch", ["patch_route", "patch_gateway_route", "patch_inbound_route"])
def test_a_route_that_responds_itself_forwards_nothing_whatever_policies_change(
    kind: str, patch: str
) -> None:
    """One that another policy adds, to refuse requests. Envoy rejects a route action without a cluster."""
    policy = kinds()[kind].model_validate(YAML(typ="safe", pure=True).load(example(kind)))
    hooks = hook_registry.hooks_for(policy.spec, policy.ref)
    refusal = v3.Route(match=v3.RouteMatch(prefix="/"), direct_response=v3.DirectResponseAction(status=413))
    routes = getattr(hooks, patch)(refusal)
    assert routes
    assert all(route.direct_response.status and not route.HasField("route") for route in routes)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_http_filters_have_phases_and_distinct_names(direction: ListenerDirection) -> None:
    entries = hook_registry.http_filters(direction)
    assert all(isinstance(phase, FilterPhase) for phase, _, _ in entries)
    names = [name for _, name, _ in entries]
    assert len(set(names)) == len(names)
    assert bool(names) == (direction != "inbound")


@pytest.mark.parametrize(
    ("flag", "details", "expected"),
    [
        ("UO", "overflow", {"CircuitBreaker": ("maxRequests", "maxPending", "maxConnections")}),
        (
            "UH",
            "no_healthy_upstream",
            {
                "CircuitBreaker": ("consecutiveFailures", "openFor"),
                "HealthCheck": ("http", "grpc", "tcp", "unhealthyThreshold"),
            },
        ),
        ("UF", "upstream_reset_before_response_started{remote}", {"MutualTLS": ("mode",)}),
        (
            "UF",
            "upstream_reset_before_response_started{connection_timeout}",
            {"ConnectionPool": ("connectTimeout",), "MutualTLS": ("mode",)},
        ),
        ("UT", "response_timeout", {"Timeout": ("request",)}),
        (
            "UT",
            "upstream_per_try_timeout",
            {"Timeout": ("backendRequest",), "Retry": ("perTryTimeout",)},
        ),
        ("URX", "", {"Retry": ("attempts", "on")}),
        ("FI", "fault_filter_abort", {"FaultInjection": ("abort",)}),
        ("NR", "route_not_found", {"HTTPRoute": (), "GRPCRoute": (), "TCPRoute": (), "TLSRoute": ()}),
        ("DC", "downstream_remote_disconnect", {}),
    ],
)
def test_kinds_explaining_a_flag(flag: str, details: str, expected: dict[str, tuple[str, ...]]) -> None:
    assert dict(hook_registry.kinds_explaining(flag, details)) == expected


@pytest.mark.parametrize("kind", kinds())
def test_symptoms_name_fields_and_statistics_that_exist(kind: str) -> None:
    spec = model_at(kinds()[kind], ["spec"])
    assert spec is not None
    for symptom in hook_registry.hook_classes()[kind].explains:
        assert symptom.flag or symptom.statistic
        assert set(symptom.fields) <= set(field_names(spec))
        if symptom.statistic:
            assert is_included(symptom.statistic), f"sidecars do not include {symptom.statistic}"


def is_included(statistic: str) -> bool:
    names = (statistic, f"cluster.orders.{statistic}", f"http.inbound.{statistic}")
    for rule in INCLUDED_STATS:
        prefix, regex = rule.get("prefix"), rule.get("safe_regex")
        if prefix and any(name.startswith(str(prefix)) for name in names):
            return True
        if isinstance(regex, dict) and any(re.fullmatch(regex["regex"], name) for name in names):
            return True
    return False
