"""What the metadata of a route says about its limits, below METADATA_KEY."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from meshwright.control_plane.api.resource_metadata import METADATA_KEY
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.ratelimit import descriptors
from meshwright.control_plane.policies.ratelimit.spec import RateLimitSpec

LIMITS_KEY = "rate_limits"
"""The local limits by name: those of the proxy's buckets that apply."""

ENFORCED_KEY, AUDITED_KEY = "limited_by", "would_limit"
"""The policies that refuse, and those in audit."""

RETRY_KEY = "retry_after"
"""The seconds after which a local bucket has a token again."""

AUDIT_HEADER = "x-meshwright-rate-limited"
"""The header of a request that a policy in audit would have refused, for the application and the log."""


def note_policy(route: v3.Route, ref: str, spec: RateLimitSpec) -> None:
    """Add a policy to those that limit the route."""
    metadata = route.metadata.filter_metadata[METADATA_KEY]
    key = ENFORCED_KEY if spec.enforcement == "enforce" else AUDITED_KEY
    metadata.update({key: ", ".join([*_earlier(metadata, key), ref])})


def note_local_limits(route: v3.Route, policy: str, spec: RateLimitSpec) -> None:
    """Let the proxy's buckets of the policy apply to the route."""
    metadata = route.metadata.filter_metadata[METADATA_KEY]
    names: Sequence[str] = [descriptors.limit_id(policy, index) for index in range(len(spec.limits))]
    metadata.get_or_create_struct(LIMITS_KEY).update({name: name for name in names})
    if spec.enforcement == "enforce":
        waits = [ceil(limit.per.total_seconds() / limit.requests) for limit in spec.limits]
        waits += map(int, _earlier(metadata, RETRY_KEY))
        metadata.update({RETRY_KEY: str(max(waits))})


def _earlier(metadata: v3.Struct, key: str) -> list[str]:
    """What policies before this one noted."""
    return str(metadata[key]).split(", ") if key in metadata else []
