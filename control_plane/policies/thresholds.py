"""Envoy's circuit breaker thresholds, which both CircuitBreaker and Retry set."""

from __future__ import annotations

from meshwright.control_plane.envoy import v3


def default_thresholds(cluster: v3.Cluster) -> v3.CircuitBreakers.Thresholds:
    """The thresholds of the cluster's default priority, added when there are none."""
    thresholds = cluster.circuit_breakers.thresholds
    return next((entry for entry in thresholds if entry.priority == 0), None) or thresholds.add()
