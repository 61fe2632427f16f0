"""Cluster metrics, in the process's default registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

PEERS = Gauge("mesh_peers", "Other control planes that are announced in the store.")
REACHABLE = Gauge("mesh_peers_reachable", "Other control planes that responded to their last poll.")
FAILURES = Counter("mesh_peer_failures_total", "Calls to other control planes that failed.", ["reason"])
DENIED = Counter("mesh_peer_denied_total", "Cluster calls by anyone but a control plane, all denied.")
