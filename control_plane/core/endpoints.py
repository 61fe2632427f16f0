"""Instances → ClusterLoadAssignment. Each endpoint's bytes are encoded once and joined.

Weights and zones are set here and not in the cluster: a changed cluster loses its connections and ejections,
changed endpoints keep both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache

from meshwright.control_plane.api.hosts import reachable_ip
from meshwright.control_plane.core.resource import EDS, Resource, encode, length_delimited, varint
from meshwright.control_plane.core.trials import set_check_address
from meshwright.control_plane.core.views import LoadBalancingView
from meshwright.control_plane.core.world import Instance
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.hooks import EndpointWeights

HEALTH_STATUS = {
    "healthy": v3.HealthStatus.HEALTHY,
    "unhealthy": v3.HealthStatus.UNHEALTHY,
    "draining": v3.HealthStatus.DRAINING,
}

MAX_ZONES = 64
"""Zones of one service that have their own assignments; callers in other zones treat all instances alike."""

UNWEIGHTED = LoadBalancingView(EndpointWeights())
"""Without a policy: all instances alike."""

# Field numbers of envoy.config.endpoint.v3: ClusterLoadAssignment.cluster_name and .endpoints,
# LocalityLbEndpoints.locality, .lb_endpoints and .priority.
_CLUSTER_NAME, _ENDPOINTS, _LOCALITY, _LB_ENDPOINTS, _PRIORITY = 1, 2, 1, 2, 5


@lru_cache(maxsize=65536)
def _endpoint(address: str, port: int, health: str, weight: int, *, trial: bool, hostname: str) -> bytes:
    socket = v3.SocketAddress(address=address, port_value=port)
    message = v3.LbEndpoint(
        endpoint=v3.Endpoint(address=v3.Address(socket_address=socket), hostname=hostname),
        health_status=HEALTH_STATUS[health],
    )
    if trial:
        set_check_address(message.endpoint, address, port)
    if weight:
        message.load_balancing_weight.value = weight
    return length_delimited(_LB_ENDPOINTS, codec.encode(message))


@lru_cache(maxsize=65536)
def problem(address: str, port: int) -> str:
    """Why Envoy would reject an endpoint, and with it all endpoints of its cluster; empty if it accepts it.

    Registrations are checked when they arrive. This protects callers from what an older control plane stored.
    """
    try:
        reachable_ip(address)
    except ValueError as error:
        return str(error)
    return "" if 0 < port <= 65535 else f"{port} is not a port"


@lru_cache(maxsize=4096)
def _locality(zone: str) -> bytes:
    return length_delimited(_LOCALITY, codec.encode(v3.Locality(zone=zone)))


def zones(instances: Iterable[Instance]) -> tuple[str, ...]:
    """The zones that have instances, sorted, at most MAX_ZONES."""
    return tuple(sorted({instance.zone for instance in instances if instance.zone}))[:MAX_ZONES]


def assignment(
    cluster: str,
    instances: Iterable[Instance],
    view: LoadBalancingView = UNWEIGHTED,
    zone: str = "",
    hostname: str = "",
) -> Resource:
    """The endpoints of one cluster; an empty assignment for none, since Envoy ignores a removed one.

    For callers in `zone` its instances come first; other zones are the next priority, which Envoy uses to the
    extent that the first lacks healthy instances.

    Without any healthy instance those that only fail their health check count as healthy: a check may be
    wrong, and a refusal never helps. Envoy's panic routing would do the same for ejected hosts, so it is off.

    `hostname`: the host that a route rewrites requests to, if it asks for that of the endpoint.
    """
    members = tuple(instances)
    last_resort = view.weights.last_resort and all(item.health != "healthy" for item in members)
    groups: dict[str, list[bytes]] = defaultdict(list)
    for instance in members:
        weight = _weight(instance, view.weights)
        group = instance.zone if zone else ""
        health = "healthy" if last_resort and instance.last_resort else instance.health
        endpoint = _endpoint(
            instance.address, instance.port, health, weight, trial=view.trial, hostname=hostname
        )
        groups[group].append(endpoint)
    body = length_delimited(_CLUSTER_NAME, cluster.encode())
    for group, endpoints in sorted(groups.items()):
        joined = b"".join(endpoints)
        if group:
            joined = _locality(group) + joined
        if zone in groups and group != zone:
            joined += varint(_PRIORITY << 3) + varint(1)
        body += length_delimited(_ENDPOINTS, joined)
    return encode(EDS, cluster, body, policies=view.policies)


def _weight(instance: Instance, weights: EndpointWeights) -> int:
    """The instance's weight; 0 where there are no weights to set."""
    if not weights.weights:
        return 0
    return next((weight for labels, weight in weights.weights if instance.matches(labels)), 1)
