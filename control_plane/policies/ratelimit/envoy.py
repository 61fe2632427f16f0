"""RateLimit as Envoy's local rate limit filter: all routes of a proxy share the buckets.

The filter's configuration is one resource for each proxy (ECDS). It has a bucket, or one for each value of
the keys, for every limit. The metadata of a route says which limits apply there, so a limit has one bucket
however many routes it covers. A change of policies fills the buckets; a change of routes does not.

Envoy's filter enforces all of its buckets or none, so policies in audit have a filter of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any, ClassVar

from google.protobuf.message import Message

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.hooks import (
    METADATA_KEY,
    FilterEntry,
    FilterPhase,
    Hooks,
    ListenerDirection,
    Symptom,
)
from meshwright.control_plane.policies.jwtauthentication.envoy import JWTAuthenticationHooks
from meshwright.control_plane.policies.ratelimit import descriptors
from meshwright.control_plane.policies.ratelimit.spec import RateLimitSpec
from meshwright.control_plane.policies.reply_reason import Reason

LOCAL, LOCAL_AUDIT = "envoy.filters.http.local_ratelimit", "meshwright.local_ratelimit.audit"

LIMITS_KEY, ENFORCED_KEY, AUDITED_KEY, RETRY_KEY = "rate_limits", "limited_by", "would_limit", "retry_after"
"""The metadata of a route, below METADATA_KEY: its limits by name, the policies that refuse, those in audit,
and the seconds after which a bucket has a token again."""

AUDIT_HEADER = "x-meshwright-rate-limited"
"""The header of a request that a policy in audit would have refused, for the application and the log."""

LIMITED_FLAG = "RL"
"""Envoy's response flag of a request that a limit refused."""

LIMITED_DETAILS = "local_rate_limited"

MAX_KEYS = 10_000
"""Values of a limit's keys that a proxy counts apart. Envoy forgets the one that was not used for longest."""

_BODY = (
    f"mesh: too many requests: refused by %METADATA(ROUTE:{METADATA_KEY}:{ENFORCED_KEY})%"
    " (%RESPONSE_CODE_DETAILS%)"
)


class RateLimitHooks(Hooks[RateLimitSpec]):
    """The filter at gateways, and at the sidecars of services that a policy targets or that call outside."""

    reads: ClassVar[tuple[str, ...]] = ("JWTAuthentication",)
    explains: ClassVar[tuple[Symptom, ...]] = (
        Symptom(LIMITED_FLAG, ("limits",), LIMITED_DETAILS, "mesh.rate_limited"),
    )
    reply_reasons: ClassVar[tuple[Reason, ...]] = (
        Reason((LIMITED_DETAILS,), "there are more requests than a limit lets through", body=_BODY),
    )

    @classmethod
    def shared_filters(cls, direction: ListenerDirection) -> Sequence[FilterEntry]:  # noqa: ARG003
        """At gateways, at the sidecars of a destination, and at those that call hosts outside the mesh."""
        return tuple(
            (FilterPhase.RATE_LIMIT, name, _local_filter(enforced=name == LOCAL))
            for name in (LOCAL, LOCAL_AUDIT)
        )

    @classmethod
    def shared_config(
        cls,
        name: str,
        combinations: Sequence[Sequence[Hooks[Any]]],
        clusters: Mapping[str, str],  # noqa: ARG003
    ) -> Message:
        """The buckets of every policy that this filter enforces, or counts only."""
        policies: dict[str, RateLimitHooks] = {}
        tokens: dict[str, set[str]] = {}
        for members in combinations:
            here = {
                token
                for other in members
                if isinstance(other, JWTAuthenticationHooks)
                for token in other.tokens
            }
            for hooks in members:
                if isinstance(hooks, RateLimitHooks) and hooks.filter_name == name:
                    policies[hooks.policy] = hooks
                    tokens.setdefault(hooks.policy, set()).update(here)
        config = _local_filter(enforced=name == LOCAL)
        for policy, hooks in sorted(policies.items()):
            hooks.add_buckets(config, sorted(tokens[policy]))
        return config

    @classmethod
    def merged_config(cls, old: bytes, new: bytes) -> bytes:  # noqa: ARG003
        """The new one: Envoy rejects a bucket that is there twice, and a limit without a bucket passes."""
        return new

    @property
    def policy(self) -> str:
        """The name of the document."""
        return self.ref.partition("/")[2]

    @property
    def filter_name(self) -> str:
        """The filter that the policy belongs to."""
        return LOCAL if self.spec.enforcement == "enforce" else LOCAL_AUDIT

    def patch_gateway_route(self, route: v3.Route) -> list[v3.Route]:
        """Limit the requests of a gateway's route, or those of a sidecar to a host outside the mesh."""
        return [self._limited(route)]

    def patch_inbound_route(self, route: v3.Route) -> list[v3.Route]:
        """Limit the requests of all callers of the service."""
        return [self._limited(route)]

    def add_buckets(self, config: v3.LocalRateLimit, tokens: Sequence[str]) -> None:
        """Add each limit: how its descriptor is made, and its bucket. `tokens` as in `key_actions`."""
        for index, limit in enumerate(self.spec.limits):
            name = descriptors.limit_id(self.policy, index)
            rule = config.rate_limits.add()
            applies = rule.actions.add().metadata
            applies.descriptor_key = descriptors.POLICY_KEY
            applies.source = v3.RateLimitActions.Action.MetaData.ROUTE_ENTRY
            applies.metadata_key.key = METADATA_KEY
            for segment in (LIMITS_KEY, name):
                applies.metadata_key.path.add(key=segment)
            rule.actions.extend(descriptors.key_actions(limit, tokens))
            bucket = config.descriptors.add()
            bucket.entries.add(key=descriptors.POLICY_KEY, value=name)
            for key in descriptors.key_names(limit, tokens):
                bucket.entries.add(key=key)
            bucket.token_bucket.max_tokens = limit.most_at_once
            bucket.token_bucket.tokens_per_fill.value = limit.requests
            bucket.token_bucket.fill_interval.FromTimedelta(limit.per)

    def _limited(self, route: v3.Route) -> v3.Route:
        if not route.HasField("route"):
            return route
        # An empty configuration only enables the filter.
        enabled = codec.pack(v3.RouteFilterConfig(config=v3.Any()))
        route.typed_per_filter_config[self.filter_name].CopyFrom(enabled)
        metadata = route.metadata.filter_metadata[METADATA_KEY]
        limits = metadata.get_or_create_struct(LIMITS_KEY)
        limits.update({name: name for name in self._limit_ids()})
        enforced = self.spec.enforcement == "enforce"
        key = ENFORCED_KEY if enforced else AUDITED_KEY
        metadata.update({key: ", ".join([*_names(metadata, key), self.ref])})
        if enforced:
            waits = [ceil(limit.per.total_seconds() / limit.requests) for limit in self.spec.limits]
            waits += map(int, _names(metadata, RETRY_KEY))
            metadata.update({RETRY_KEY: str(max(waits))})
        return route

    def _limit_ids(self) -> Sequence[str]:
        return [descriptors.limit_id(self.policy, index) for index in range(len(self.spec.limits))]


def _names(metadata: v3.Struct, key: str) -> list[str]:
    """What policies before this one wrote."""
    return str(metadata[key]).split(", ") if key in metadata else []


def _local_filter(*, enforced: bool) -> v3.LocalRateLimit:
    """The filter without buckets: everything passes. Those of a route's limits decide, and no default one."""
    always = v3.RuntimeFractionalPercent(default_value=v3.FractionalPercent(numerator=100))
    config = v3.LocalRateLimit(
        stat_prefix="rate_limit" if enforced else "rate_limit_audit",
        filter_enabled=always,
        max_dynamic_descriptors=v3.UInt32Value(value=MAX_KEYS),
        always_consume_default_token_bucket=v3.BoolValue(value=False),
        rate_limited_as_resource_exhausted=True,
    )
    if enforced:
        config.filter_enforced.CopyFrom(always)
        config.enable_x_ratelimit_headers = v3.XRateLimitHeadersRFCVersion.DRAFT_VERSION_03
        config.response_headers_to_add.append(
            _header("retry-after", f"%METADATA(ROUTE:{METADATA_KEY}:{RETRY_KEY})%")
        )
    else:
        config.request_headers_to_add_when_not_enforced.append(
            _header(AUDIT_HEADER, f"%METADATA(ROUTE:{METADATA_KEY}:{AUDITED_KEY})%")
        )
    return config


def _header(name: str, value: str) -> v3.HeaderValueOption:
    return v3.HeaderValueOption(
        header=v3.HeaderValue(key=name, value=value),
        append_action=v3.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )
