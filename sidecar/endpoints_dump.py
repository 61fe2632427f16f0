"""The endpoints of an Envoy in the form of `/config_dump?include_eds`, from `/clusters`. Pure.

`/config_dump?include_eds` itself must not be called: Envoy 1.40 takes the address of an endpoint's health
check for an IP address, and crashes if it is a Unix socket, as those of half-open trials are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

ENDPOINTS_DUMP = "type.googleapis.com/envoy.admin.v3.EndpointsConfigDump"

_FAILED = frozenset({"failed_active_health_check", "failed_outlier_check"})
"""What makes a host unhealthy, whatever EDS says (envoy.admin.v3.HostHealthStatus)."""


def endpoints_dump(clusters: Mapping[str, Any]) -> dict[str, Any]:
    """An EndpointsConfigDump from `/clusters?format=json`: clusters of the bootstrap are static."""
    dump: dict[str, Any] = {"@type": ENDPOINTS_DUMP}
    for cluster in clusters.get("cluster_statuses", ()):
        key = "dynamic_endpoint_configs" if cluster.get("added_via_api") else "static_endpoint_configs"
        assignment = {
            "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            "cluster_name": cluster.get("name", ""),
            "endpoints": _localities(cluster.get("host_statuses", ())),
        }
        dump.setdefault(key, []).append({"endpoint_config": assignment})
    return dump


def _localities(hosts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The hosts by priority and locality."""
    groups: dict[tuple[int, tuple[tuple[str, str], ...]], list[dict[str, Any]]] = {}
    for host in hosts:
        locality = tuple(sorted(host.get("locality", {}).items()))
        groups.setdefault((host.get("priority", 0), locality), []).append(_endpoint(host))
    return [
        {"locality": dict(locality), "priority": priority, "lb_endpoints": endpoints}
        for (priority, locality), endpoints in groups.items()
    ]


def _endpoint(host: Mapping[str, Any]) -> dict[str, Any]:
    health = host.get("health_status", {})
    failed = any(health.get(each) for each in _FAILED)
    return {
        "endpoint": {"address": host.get("address", {})},
        "health_status": "UNHEALTHY" if failed else health.get("eds_health_status", "UNKNOWN"),
        "load_balancing_weight": host.get("weight", 1),
    }
