"""Endpoints that take over from others of a cluster with health checks: both for a while.

Envoy sends to a new endpoint of such a cluster only after its first successful check. If all endpoints are
replaced at once, by another Subset say, there would be none to send to until then. So the old ones stay.
They stay as they were: Maglev and rings have no place for degraded ones.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from meshwright.control_plane.core.resource import Resource, encode
from meshwright.control_plane.envoy import v3

_USABLE = (v3.HealthStatus.UNKNOWN, v3.HealthStatus.HEALTHY)


@lru_cache(maxsize=2048)
def is_checked(cluster: Resource) -> bool:
    """Whether Envoy checks the health of the endpoints of this cluster."""
    body = v3.DeltaDiscoveryResponse.FromString(cluster.wire).resources[0].resource
    return bool(v3.Cluster.FromString(body.value).health_checks)


@lru_cache(maxsize=2048)
def with_predecessors(old: Resource, new: Resource) -> Resource:
    """The new endpoints and the old ones, if none of the new was usable before; else `new` itself.

    Those that drain stay usable, too; those that the new endpoints have as unhealthy do not.
    """
    before, after = _assignment(old), _assignment(new)
    successors = _with_status(after, *_USABLE)
    predecessors = _with_status(before, *_USABLE).difference(_with_status(after, v3.HealthStatus.UNHEALTHY))
    if not successors or not predecessors or successors & predecessors:
        return new
    for group in after.endpoints:
        for endpoint in group.lb_endpoints:
            if _key(endpoint) in predecessors:
                endpoint.health_status = v3.HealthStatus.HEALTHY
    removed = predecessors - _with_status(after, v3.HealthStatus.HEALTHY)
    for group in before.endpoints:
        _keep(after, group.locality, [item for item in group.lb_endpoints if _key(item) in removed])
    version = hashlib.sha256(f"{old.version}\0{new.version}".encode()).hexdigest()[:16]
    return encode(new.type_url, new.name, after, policies=new.policies, version=version)


def _keep(
    assignment: v3.ClusterLoadAssignment, locality: v3.Locality, endpoints: list[v3.LbEndpoint]
) -> None:
    """Add endpoints to those of the first priority."""
    if not endpoints:
        return
    same = (group for group in assignment.endpoints if (group.locality, group.priority) == (locality, 0))
    group = next(same, None) or assignment.endpoints.add(locality=locality)
    group.lb_endpoints.extend(endpoints)


def _assignment(resource: Resource) -> v3.ClusterLoadAssignment:
    body = v3.DeltaDiscoveryResponse.FromString(resource.wire).resources[0].resource
    return v3.ClusterLoadAssignment.FromString(body.value)


def _with_status(assignment: v3.ClusterLoadAssignment, *statuses: int) -> set[bytes]:
    """The addresses of the endpoints that have one of these states."""
    return {
        _key(endpoint)
        for group in assignment.endpoints
        for endpoint in group.lb_endpoints
        if endpoint.health_status in statuses
    }


def _key(endpoint: v3.LbEndpoint) -> bytes:
    return endpoint.endpoint.address.SerializeToString(deterministic=True)
