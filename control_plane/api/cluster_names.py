"""Names of the clusters in a sidecar's bootstrap, to which what the control plane sends refers.

All begin with `/`, which no service's name has, so that no service can collide with them: Envoy would answer
for a service called `admin` from its own admin socket.
"""

from __future__ import annotations

XDS = "/xds"
"""The control plane."""

ADMIN = "/admin"
"""Envoy's own admin interface, of which `ready` shows two paths."""

AGENT = "/agent"
"""The agent that keeps the sidecar, of which `ready` shows the metrics."""

TELEMETRY = "/telemetry"
"""The control plane, where it takes telemetry."""

COLLECTOR = "/otlp"
"""Where spans go: the control plane again, or a collector that somebody named."""


def app_cluster(port: str) -> str:
    """`/app/http`: the app beside the sidecar, at its port `http`."""
    return f"/app/{port}"
