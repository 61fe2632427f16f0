"""What a sidecar counted for each rule of HTTPRoutes and GRPCRoutes, as recording.yml adds it up."""

from __future__ import annotations

from collections import Counter

import requests
from prometheus_client.parser import text_string_to_metric_families

from tests.envoy.harness import Mesh

FORWARDED = "envoy_vhost_route_upstream_rq_xx"
"""Responses that Envoy's router counted for a rule."""

LOCAL, FAILED = "envoy_mesh_local_replies", "envoy_mesh_route_failures"
"""Responses that the proxy made before the router, and failures as callers saw them."""

TIMES = "envoy_vhost_route_upstream_rq_time_count"

RuleKey = tuple[str, str]
"""A metric and `Kind/name/rule`."""

RuleCounts = Counter[RuleKey]


def rule_counts(mesh: Mesh, proxy: str) -> RuleCounts:
    """How often each rule was counted."""
    url = f"http://127.0.0.1:{mesh.ports(proxy)['ready']}/stats/prometheus"
    counts: RuleCounts = Counter()
    for family in text_string_to_metric_families(requests.get(url, timeout=60).text):
        for sample in family.samples:
            name = sample.name.removesuffix("_total")
            if name in (FORWARDED, LOCAL, FAILED, TIMES) and sample.labels.get("mesh_rule"):
                counts[name, sample.labels["mesh_rule"]] += int(sample.value)
    return counts
