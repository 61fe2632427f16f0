"""The filters that ask the control plane about global limits, one for each `onFailure`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.ratelimit import descriptors
from meshwright.control_plane.policies.ratelimit.spec import RateLimitSpec

ALLOW, DENY = "meshwright.ratelimit.allow", "meshwright.ratelimit.deny"

DOMAIN = "meshwright"
"""The control plane knows the mesh by the certificate."""

TIMEOUT = timedelta(milliseconds=40)
"""How long a request waits for the answer. The control plane gives up counting sooner."""

UNCOUNTED_STATUS = 503
"""The status of a request that `onFailure: deny` refuses."""


def unconfigured(name: str) -> v3.GlobalRateLimit:
    """The filter; a route says what to ask about."""
    service = v3.GrpcService(envoy_grpc=v3.GrpcService.EnvoyGrpc(cluster_name=cluster_names.XDS))
    config = v3.GlobalRateLimit(
        domain=DOMAIN,
        timeout=TIMEOUT,
        failure_mode_deny=name == DENY,
        rate_limited_as_resource_exhausted=True,
        enable_x_ratelimit_headers=v3.GlobalRateLimit.DRAFT_VERSION_03,
        disable_x_envoy_ratelimited_header=True,
        rate_limit_service=v3.RateLimitServiceConfig(
            grpc_service=service, transport_api_version=v3.ApiVersion.V3
        ),
        stat_prefix=name.rpartition(".")[2],
    )
    config.status_on_error.code = UNCOUNTED_STATUS
    return config


def filter_name(spec: RateLimitSpec) -> str:
    """The filter for a policy. One in audit refuses nothing, whatever happens."""
    denies = spec.on_failure == "deny" and spec.enforcement == "enforce"
    return DENY if denies else ALLOW


def add_limits(route: v3.Route, policy: str, spec: RateLimitSpec, tokens: Sequence[str]) -> None:
    """Ask about the policy's limits, besides those of earlier policies. `tokens` as in `key_actions`."""
    name = filter_name(spec)
    config = v3.RateLimitPerRoute()
    if name in route.typed_per_filter_config:
        route.typed_per_filter_config[name].Unpack(config)
    for index, limit in enumerate(spec.limits):
        actions = config.rate_limits.add().actions
        actions.add().generic_key.CopyFrom(
            v3.RateLimitActions.Action.GenericKey(
                descriptor_key=descriptors.POLICY_KEY, descriptor_value=descriptors.limit_id(policy, index)
            )
        )
        actions.extend(descriptors.key_actions(limit, tokens))
    route.typed_per_filter_config[name].CopyFrom(codec.pack(config))
