"""Counts the requests that rate limits refused, or would refuse in audit, by policy: `mesh.rate_limited`.

Envoy's own statistics of its filters count them for the whole proxy. Access logs are evaluated once a
request, after its end; a request that no limit concerns costs a comparison of its flags and of its headers.
"""

from __future__ import annotations

from functools import lru_cache

from meshwright.control_plane.api.resource_metadata import METADATA_KEY
from meshwright.control_plane.core import stats_log
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.ratelimit.envoy import LIMITED_FLAG
from meshwright.control_plane.policies.ratelimit.route_metadata import (
    AUDIT_HEADER,
    AUDITED_KEY,
    ENFORCED_KEY,
)

STAT = "rate_limited"
POLICY_TAG, OUTCOME_TAG = "mesh.policy", "mesh.outcome"


@lru_cache(maxsize=1)
def access_logs() -> tuple[v3.AccessLog, ...]:
    """Access logs that write nothing and count; for connection managers that have the filters of limits."""
    refused = v3.AccessLogFilter(response_flag_filter=v3.ResponseFlagFilter(flags=[LIMITED_FLAG]))
    header = v3.HeaderMatcher(name=AUDIT_HEADER, present_match=True)
    audited = v3.AccessLogFilter(header_filter=v3.HeaderFilter(header=header))
    return (_counter(refused, ENFORCED_KEY, "refused"), _counter(audited, AUDITED_KEY, "audited"))


def _counter(counted: v3.AccessLogFilter, policies: str, outcome: str) -> v3.AccessLog:
    """The policies come from the route, never from the request: a peer cannot add statistics."""
    tags = {POLICY_TAG: f"%METADATA(ROUTE:{METADATA_KEY}:{policies})%", OUTCOME_TAG: outcome}
    return stats_log.access_log(stats_log.counting(STAT, tags), counted)
