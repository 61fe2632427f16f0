"""The local rate limit filter of a proxy: its buckets, and how requests find them."""

from __future__ import annotations

from collections.abc import Sequence

from meshwright.control_plane.api.resource_metadata import METADATA_KEY
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.ratelimit import descriptors
from meshwright.control_plane.policies.ratelimit.route_metadata import (
    AUDIT_HEADER,
    AUDITED_KEY,
    LIMITS_KEY,
    RETRY_KEY,
)
from meshwright.control_plane.policies.ratelimit.spec import RateLimitSpec

LOCAL, LOCAL_AUDIT = "envoy.filters.http.local_ratelimit", "meshwright.local_ratelimit.audit"

MAX_KEYS = 10_000
"""Values of a limit's keys that a proxy counts apart. Envoy forgets the one that was not used for longest."""


def without_buckets(name: str) -> v3.LocalRateLimit:
    """The filter that lets everything pass. Buckets of limits will decide, and no default one."""
    enforced = name == LOCAL
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
        config.response_headers_to_add.append(_header("retry-after", RETRY_KEY))
    else:
        config.request_headers_to_add_when_not_enforced.append(_header(AUDIT_HEADER, AUDITED_KEY))
    return config


def add_buckets(config: v3.LocalRateLimit, policy: str, spec: RateLimitSpec, tokens: Sequence[str]) -> None:
    """Add each limit: how its descriptor is made, and its bucket. `tokens` as in `key_actions`."""
    for index, limit in enumerate(spec.limits):
        name = descriptors.limit_id(policy, index)
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


def _header(name: str, metadata_key: str) -> v3.HeaderValueOption:
    """A header with a value of the route's metadata."""
    return v3.HeaderValueOption(
        header=v3.HeaderValue(key=name, value=f"%METADATA(ROUTE:{METADATA_KEY}:{metadata_key})%"),
        append_action=v3.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )
