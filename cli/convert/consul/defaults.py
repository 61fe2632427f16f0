"""service-defaults and proxy-defaults: protocols, limits of callers, rates, access logs."""

from __future__ import annotations

from meshwright.cli.convert.consul.chain import Chain
from meshwright.cli.convert.documents import WHOLE_MESH, Document, service_target
from meshwright.cli.convert.durations import read_duration
from meshwright.cli.convert.reading import Value

_LIMITS = (
    ("maxConnections", "maxConnections"),
    ("maxPendingRequests", "maxPending"),
    ("maxConcurrentRequests", "maxRequests"),
)
NEVER = 100_000
"""Failures in a row that eject an instance, for limits that eject none: the most there may be."""


def convert_service_defaults(entry: Value, service: str, chain: Chain) -> None:
    """Add what one service says of its calls, and of calls to it."""
    entry.get("protocol")
    upstreams = entry.get("upstreamConfig")
    if upstreams and (defaults := upstreams.get("defaults")):
        _add_upstream(defaults, f"{service}-calls", {"targetRefs": [WHOLE_MESH], "from": [service]}, chain)
    for override in upstreams.items("overrides") if upstreams else []:
        name = override.text("name")
        about: Document = {"targetRefs": service_target(name), "from": [service]}
        _add_upstream(override, f"{service}-to-{name}", about, chain)
    limits = entry.get("rateLimits")
    level = limits.get("instanceLevel") if limits else None
    rate = level.integer("requestsPerSecond") if level else None
    burst = level.integer("requestsMaxBurst") if level else None
    if level and rate:
        limit: Document = {"requests": rate, "per": "1s"} | ({"burst": burst} if burst else {})
        body: Document = {"targetRefs": service_target(service), "limits": [limit]}
        chain.add(level, "RateLimit", service, body)


def _add_upstream(upstream: Value, name: str, about: Document, chain: Chain) -> None:
    """Add the CircuitBreaker and the ConnectionPool of an upstream. 5 and 30 s are Envoy's defaults."""
    body: Document = {}
    if check := upstream.get("passiveHealthCheck"):
        failures = check.integer("maxFailures")
        body["consecutiveFailures"] = failures or 5
        body["openFor"] = read_duration(check.get("baseEjectionTime")) or "30s"
    if limits := upstream.get("limits"):
        values = {ours: value for theirs, ours in _LIMITS if (value := limits.integer(theirs))}
        if values:
            body = {"consecutiveFailures": NEVER} | body | values
    if body:
        chain.add(upstream, "CircuitBreaker", name, about | body)
    if milliseconds := upstream.integer("connectTimeoutMs"):
        chain.add(upstream, "ConnectionPool", name, about | {"connectTimeout": f"{milliseconds}ms"})


def convert_proxy_defaults(entry: Value, _name: str, chain: Chain) -> None:
    """Add the Telemetry of the mesh."""
    if config := entry.get("config"):
        config.get("protocol")
    logs = entry.get("accessLogs")
    if logs is None:
        return
    logs.text("type")
    if logs.flag("enabled"):
        logs.note("are written to logs/NAME.proxy.log here, one JSON line for each request")
        chain.add(logs, "Telemetry", "proxy-defaults", {"targetRefs": [WHOLE_MESH], "accessLog": "All"})
