"""CONNECT: how gRPC libraries and some HTTP clients talk to a proxy.

The tunnel ends in the same sidecar, at an internal listener with the routes of every other call, so each call
inside it is balanced and subject to policies. HTTPS in a tunnel would hide the calls, so CONNECT to port 443
of an http service is refused with an explanation.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache

from meshwright.control_plane.core.resource import CDS, Resource, encode
from meshwright.control_plane.envoy import v3

CONNECT = "CONNECT"
LISTENER = "connect"
CLUSTER = "/connect"
"""The cluster of the internal listener. No service can have this name."""

REFUSED_STATUS = 405

_UNLIMITED = v3.UInt32Value(value=2**32 - 1)


@lru_cache(maxsize=1)
def cluster() -> Resource:
    """Sends tunnels to the internal listener, without limits."""
    address = v3.Address(envoy_internal_address=v3.EnvoyInternalAddress(server_listener_name=LISTENER))
    endpoint = v3.LbEndpoint(endpoint=v3.Endpoint(address=address))
    limits = v3.CircuitBreakers.Thresholds(max_connections=_UNLIMITED, max_pending_requests=_UNLIMITED)
    message = v3.Cluster(
        name=CLUSTER,
        type=v3.Cluster.STATIC,
        load_assignment=v3.ClusterLoadAssignment(
            cluster_name=CLUSTER, endpoints=[v3.LocalityLbEndpoints(lb_endpoints=[endpoint])]
        ),
        circuit_breakers=v3.CircuitBreakers(thresholds=[limits]),
    )
    return encode(CDS, CLUSTER, message)


def tunnel() -> v3.Route:
    """The route of CONNECT; a tunnel stays open until one end closes it, however silent."""
    return v3.Route(match=connect_match(), route=terminating_action(CLUSTER))


def terminating_action(cluster: str) -> v3.RouteAction:
    """Ends the CONNECT here and forwards its bytes to the cluster, without a time limit."""
    terminate = v3.RouteAction.UpgradeConfig(
        upgrade_type=CONNECT, connect_config=v3.RouteAction.UpgradeConfig.ConnectConfig()
    )
    return v3.RouteAction(
        cluster=cluster, timeout=timedelta(0), idle_timeout=timedelta(0), upgrade_configs=[terminate]
    )


def refusal(service: str) -> v3.Route:
    """The route of CONNECT for HTTPS to an http service: 405 with an explanation."""
    text = (
        f"the mesh cannot route HTTPS to {service} because sidecars encrypt the traffic: "
        f"use http://{service}\n"
    )
    response = v3.DirectResponseAction(status=REFUSED_STATUS, body=v3.DataSource(inline_string=text))
    return v3.Route(name="https-refused", match=connect_match(), direct_response=response)


def connect_match() -> v3.RouteMatch:
    """Matches CONNECT, which has no path."""
    return v3.RouteMatch(connect_matcher=v3.RouteMatch.ConnectMatcher())
