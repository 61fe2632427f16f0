"""Instances → ClusterLoadAssignment. Each endpoint's bytes are made once and joined.

Weights and zones are here and not in the cluster: a changed cluster is built anew and forgets its connections
and ejections, changed endpoints keep both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache

from meshwright.control_plane.core.resource import EDS, Resource, encode, length_delimited, varint
from meshwright.control_plane.core.views import LoadBalancingView
from meshwright.control_plane.core.world import Instance
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.base import EndpointWeights

HEALTH_STATUS = {
    "healthy": v3.HealthStatus.HEALTHY,
    "unhealthy": v3.HealthStatus.UNHEALTHY,
    "draining": v3.HealthStatus.DRAINING,
}

MAX_ZONES = 64
"""Zones of one service that have assignments of their own; callers in others see all alike."""

UNWEIGHTED = LoadBalancingView(EndpointWeights())
"""Where no policy says anything: all instances alike."""

# Field numbers of envoy.config.endpoint.v3: ClusterLoadAssignment.cluster_name and .endpoints,
# LocalityLbEndpoints.locality, .lb_endpoints and .priority.
_CLUSTER_NAME, _ENDPOINTS, _LOCALITY, _LB_ENDPOINTS, _PRIORITY = 1, 2, 1, 2, 5


@lru_cache(maxsize=65536)
def _endpoint(address: str, port: int, health: str, weight: int) -> bytes:
    socket = v3.SocketAddress(address=address, port_value=port)
    message = v3.LbEndpoint(
        endpoint=v3.Endpoint(address=v3.Address(socket_address=socket)), health_status=HEALTH_STATUS[health]
    )
    if weight:
        message.load_balancing_weight.value = weight
    return length_delimited(_LB_ENDPOINTS, codec.encode(message))


@lru_cache(maxsize=4096)
def _locality(zone: str) -> bytes:
    return length_delimited(_LOCALITY, codec.encode(v3.Locality(zone=zone)))


def zones(instances: Iterable[Instance]) -> tuple[str, ...]:
    """The zones in which there are instances, sorted, at most ZONES_LIMIT of them."""
    return tuple(sorted({one.zone for one in instances if one.zone}))[:MAX_ZONES]


def assignment(
    cluster: str, instances: Iterable[Instance], view: LoadBalancingView = UNWEIGHTED, zone: str = ""
) -> Resource:
    """The endpoints of one cluster; none is an empty assignment, since Envoy ignores a removed one.

    For callers in `zone` its own instances come first; other zones are the next priority, which Envoy uses as
    far as the first lacks healthy ones.
    """
    groups: dict[str, list[bytes]] = defaultdict(list)
    for one in instances:
        weight = _weight(one, view.weights)
        where = one.zone if zone else ""
        groups[where].append(_endpoint(one.address, one.port, one.health, weight))
    body = length_delimited(_CLUSTER_NAME, cluster.encode())
    for where, endpoints in sorted(groups.items()):
        joined = b"".join(endpoints)
        if where:
            joined = _locality(where) + joined
        if zone in groups and where != zone:
            joined += varint(_PRIORITY << 3) + varint(1)
        body += length_delimited(_ENDPOINTS, joined)
    return encode(EDS, cluster, body, policies=view.policies)


def _weight(instance: Instance, spread: EndpointWeights) -> int:
    """The instance's weight; 0 where none is to be said."""
    if not spread.weights:
        return 0
    return next((weight for labels, weight in spread.weights if instance.matches(labels)), 1)
