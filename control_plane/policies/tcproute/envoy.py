"""TCPRoute as the clusters of Envoy's TCP proxy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.hooks import Hooks, Symptom
from meshwright.control_plane.policies.tcproute.spec import TCPRouteSpec


class TCPRouteHooks(Hooks[TCPRouteSpec]):
    """Routing itself is `set_backends`; no hook changes what other kinds made."""

    explains: ClassVar[tuple[Symptom, ...]] = (Symptom("NR"), Symptom("NC"))


def set_backends(proxy: v3.TcpProxy, backends: Sequence[tuple[str, int]]) -> None:
    """Send connections to these clusters by weight; there is at least one."""
    if len(backends) == 1:
        proxy.cluster = backends[0][0]
        return
    proxy.weighted_clusters.clusters.extend(
        v3.TcpProxy.WeightedCluster.ClusterWeight(name=cluster, weight=weight) for cluster, weight in backends
    )


def set_tunnel_backends(action: v3.RouteAction, backends: Sequence[tuple[str, int]]) -> None:
    """The same for connections that a route of CONNECT leads on."""
    if len(backends) == 1:
        action.cluster = backends[0][0]
        return
    for cluster, weight in backends:
        action.weighted_clusters.clusters.add(name=cluster).weight.value = weight
