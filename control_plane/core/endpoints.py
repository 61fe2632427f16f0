"""Instances → ClusterLoadAssignment. Each endpoint's bytes are made once and joined."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from control_plane.core.resource import EDS, Resource, encode, length_delimited
from control_plane.core.world import Instance
from control_plane.envoy import codec, v3

HEALTH = {
    "healthy": v3.HealthStatus.HEALTHY,
    "unhealthy": v3.HealthStatus.UNHEALTHY,
    "draining": v3.HealthStatus.DRAINING,
}

# Field numbers of envoy.config.endpoint.v3: ClusterLoadAssignment.cluster_name and .endpoints,
# LocalityLbEndpoints.lb_endpoints.
_CLUSTER_NAME, _ENDPOINTS, _LB_ENDPOINTS = 1, 2, 2


@lru_cache(maxsize=65536)
def _endpoint(address: str, port: int, health: str) -> bytes:
    socket = v3.SocketAddress(address=address, port_value=port)
    message = v3.LbEndpoint(
        endpoint=v3.Endpoint(address=v3.Address(socket_address=socket)), health_status=HEALTH[health]
    )
    return length_delimited(_LB_ENDPOINTS, codec.encode(message))


def assignment(cluster: str, instances: Iterable[Instance]) -> Resource:
    """The endpoints of one cluster; none is an empty assignment, since Envoy ignores a removed one."""
    joined = b"".join(_endpoint(one.address, one.port, one.health) for one in instances)
    body = length_delimited(_CLUSTER_NAME, cluster.encode())
    if joined:
        body += length_delimited(_ENDPOINTS, joined)
    return encode(EDS, cluster, body)
