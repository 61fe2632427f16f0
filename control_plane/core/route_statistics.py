"""Statistics by rule of HTTPRoutes and GRPCRoutes.

Envoy's router counts responses and times them by `stat_prefix` of the route, where it has one: a route of a
document does, named after its rule, and the default route of a service costs nothing. As for clusters, HTTP
status alone decides there, and what a proxy answers before the router is missing. So an access log counts the
failures of each rule as callers see them, gRPC statuses and faults included, and `local_replies` names the
rule of what the router did not count.
"""

from __future__ import annotations

from functools import lru_cache

from meshwright.control_plane.api.resource_metadata import METADATA_KEY
from meshwright.control_plane.core import stats_log
from meshwright.control_plane.core.views import RuleView
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.server_errors import server_error_filter

FAILURES = "route_failures"

RULE_KEY = "rule"
"""The metadata of a route, below METADATA_KEY, that names its rule: `Kind/name/rule`."""

RULE_TAG = "mesh.rule"
RULE_FORMAT = f"%METADATA(ROUTE:{METADATA_KEY}:{RULE_KEY})%"
"""The rule in tags of access logs; empty for routes of no document."""


def rule_name(rule: RuleView) -> str:
    """`Kind/name/rule`, with `#N` for the Nth rule if it has no name; empty without a document."""
    return f"{rule.route}/{rule.rule.name or f'#{rule.age[2] + 1}'}" if rule.route else ""


def mark(route: v3.Route, name: str) -> None:
    """Have Envoy keep the statistics of a route under the name of its rule."""
    route.stat_prefix = name
    route.metadata.filter_metadata[METADATA_KEY].update({RULE_KEY: name})


@lru_cache(maxsize=1)
def access_log() -> v3.AccessLog:
    """An access log that writes nothing and counts failed requests by rule.

    A request that succeeds costs two comparisons.
    """
    counts = stats_log.counting(FAILURES, {RULE_TAG: RULE_FORMAT})
    return stats_log.access_log(counts, server_error_filter())
