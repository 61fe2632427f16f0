"""The algorithms as Envoy's load balancing extensions.

None of them is given a locality configuration: which zone comes first is a matter of the endpoints'
priorities, and within one priority all instances are alike.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from meshwright.control_plane.envoy import codec, v3

if TYPE_CHECKING:
    from meshwright.control_plane.policies.loadbalancer.spec import LoadBalancerSpec

NAMES: Final = {
    "RoundRobin": "envoy.load_balancing_policies.round_robin",
    "LeastRequest": "envoy.load_balancing_policies.least_request",
    "Random": "envoy.load_balancing_policies.random",
    "RingHash": "envoy.load_balancing_policies.ring_hash",
    "Maglev": "envoy.load_balancing_policies.maglev",
}


def configure(spec: LoadBalancerSpec, cluster: v3.Cluster) -> None:
    """Give the cluster the spec's algorithm in place of its own."""
    cluster.ClearField("lb_policy")
    policy = cluster.load_balancing_policy.policies.add()
    policy.typed_extension_config.name = NAMES[spec.algorithm]
    policy.typed_extension_config.typed_config.CopyFrom(codec.pack(_extension(spec)))


def _extension(
    spec: LoadBalancerSpec,
) -> v3.RoundRobin | v3.LeastRequest | v3.Random | v3.RingHash | v3.Maglev:
    slow = _slow_start(spec.slow_start.window) if spec.slow_start else None
    match spec.algorithm:
        case "RoundRobin":
            return v3.RoundRobin(slow_start_config=slow)
        case "LeastRequest":
            return v3.LeastRequest(slow_start_config=slow)
        case "Random":
            return v3.Random()
        case "RingHash":
            return v3.RingHash()
        case "Maglev":
            return v3.Maglev()


def _slow_start(window: timedelta) -> v3.SlowStartConfig:
    """Linear from a tenth of the share (Envoy's defaults for `aggression` and `min_weight_percent`)."""
    return v3.SlowStartConfig(slow_start_window=window)
