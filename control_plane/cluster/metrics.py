"""What a control plane counts of its peers, in the process's default registry."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

PEERS = Gauge("mesh_peers_known", "Other control planes that announced themselves")
REACHABLE = Gauge("mesh_peers_answering", "Those of them that answer")
FAILURES = Counter("mesh_peer_failures_total", "Questions to peers that were not answered", ["reason"])
DENIED = Counter("mesh_peer_refused_total", "Questions of others than control planes that were refused")
