"""LoadBalancer as Envoy's load balancing extensions, hash policies and endpoint weights.

No algorithm gets a locality configuration: zone preference works by the endpoints' priorities, and instances
of one priority are equal.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.hooks import EndpointWeights, Hooks
from meshwright.control_plane.policies.loadbalancer.spec import HashOn, LoadBalancerSpec

NAMES: Final = {
    "RoundRobin": "envoy.load_balancing_policies.round_robin",
    "LeastRequest": "envoy.load_balancing_policies.least_request",
    "Random": "envoy.load_balancing_policies.random",
    "RingHash": "envoy.load_balancing_policies.ring_hash",
    "Maglev": "envoy.load_balancing_policies.maglev",
}


class LoadBalancerHooks(Hooks[LoadBalancerSpec]):
    """The algorithm on the cluster, the key on routes, weights and zones on endpoints."""

    def patch_route(self, route: v3.Route) -> list[v3.Route]:
        """Set what is hashed, on a forwarding route."""
        if self.spec.hash_on is not None and route.HasField("route"):
            _set_hash_policy(self.spec.hash_on, route.route.hash_policy.add())
        return [route]

    def patch_cluster(self, cluster: v3.Cluster) -> None:
        """Set the algorithm; LeastRequest without slow start is every cluster's default."""
        if self.spec.algorithm == "LeastRequest" and self.spec.slow_start is None:
            return
        cluster.ClearField("lb_policy")
        policy = cluster.load_balancing_policy.policies.add()
        policy.typed_extension_config.name = NAMES[self.spec.algorithm]
        policy.typed_extension_config.typed_config.CopyFrom(codec.pack(_extension(self.spec)))

    def endpoint_weights(self) -> EndpointWeights | None:
        """Weights, locality, and what happens when no instance is healthy."""
        weights = EndpointWeights(
            tuple((entry.labels, entry.weight) for entry in self.spec.weights),
            prefer_local_zone=self.spec.locality is not None,
            last_resort=self.spec.all_unhealthy == "Send",
        )
        return None if weights == EndpointWeights() else weights


def _set_hash_policy(hash_on: HashOn, policy: v3.RouteAction.HashPolicy) -> None:
    if hash_on.header is not None:
        policy.header.header_name = hash_on.header.lower()
    elif hash_on.cookie is not None:
        policy.cookie.name = hash_on.cookie.name
        if hash_on.cookie.ttl is not None:
            policy.cookie.ttl.FromTimedelta(hash_on.cookie.ttl)
            policy.cookie.path = "/"
    else:
        policy.connection_properties.source_ip = True


def _extension(
    spec: LoadBalancerSpec,
) -> v3.RoundRobin | v3.LeastRequest | v3.Random | v3.RingHash | v3.Maglev:
    slow_start = _slow_start(spec.slow_start.window) if spec.slow_start else None
    match spec.algorithm:
        case "RoundRobin":
            return v3.RoundRobin(slow_start_config=slow_start)
        case "LeastRequest":
            return v3.LeastRequest(slow_start_config=slow_start)
        case "Random":
            return v3.Random()
        case "RingHash":
            return v3.RingHash()
        case "Maglev":
            return v3.Maglev()


def _slow_start(window: timedelta) -> v3.SlowStartConfig:
    """Linear from a tenth of the share (Envoy's defaults for `aggression` and `min_weight_percent`)."""
    return v3.SlowStartConfig(slow_start_window=window)
