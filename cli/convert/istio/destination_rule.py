"""DestinationRule as Subset, LoadBalancer, ConnectionPool, CircuitBreaker and Retry."""

from __future__ import annotations

from meshwright.cli.convert.documents import Document, service_target
from meshwright.cli.convert.durations import read_duration
from meshwright.cli.convert.istio.scope import Scope, service_name
from meshwright.cli.convert.reading import Value

_ALGORITHMS = {
    "ROUND_ROBIN": "RoundRobin",
    "LEAST_REQUEST": "LeastRequest",
    "LEAST_CONN": "LeastRequest",
    "RANDOM": "Random",
}
NEVER = 100_000
"""Failures in a row that eject an instance, for a rule that ejects none: the most there may be."""


def convert_destination_rule(document: Value, name: str, scope: Scope) -> None:
    """Add what one DestinationRule says."""
    spec = document.get("spec")
    host = spec.get("host") if spec else None
    if spec is None or host is None:
        document.problem("DestinationRule has no host: it is not converted")
        return
    service = service_name(host.string())
    if not service:
        host.problem("is not one service of the mesh: the DestinationRule is not converted")
        spec.skip()
        return
    for subset in spec.items("subsets"):
        _add_subset(subset, service, scope)
    if policy := spec.get("trafficPolicy"):
        target = {"targetRefs": service_target(service)}
        for kind, body in (
            ("LoadBalancer", _load_balancer(policy)),
            ("ConnectionPool", _connection_pool(policy)),
            ("CircuitBreaker", _circuit_breaker(policy)),
            ("Retry", _retry_budget(policy)),
        ):
            if body:
                scope.add(policy, kind, name, target | body)
        _check_tls(policy)


def defined_subsets(document: Value) -> dict[tuple[str, str], bool]:
    """The subsets of a DestinationRule, and whether each has labels."""
    spec = document.get("spec")
    host = spec.get("host") if spec else None
    if spec is None or host is None:
        return {}
    service = service_name(host.string())
    return {
        (service, subset.text("name")): bool(subset.mapping("labels")) for subset in spec.items("subsets")
    }


def _add_subset(subset: Value, service: str, scope: Scope) -> None:
    labels = {key: value.string() for key, value in subset.mapping("labels").items()}
    if labels:
        scope.add(
            subset, "Subset", f"{service}-{subset.text('name')}", {"service": service, "labels": labels}
        )


def _load_balancer(policy: Value) -> Document:
    settings = policy.get("loadBalancer")
    if settings is None:
        return {}
    body: Document = {}
    simple = settings.get("simple")
    if simple is not None and simple.string() in _ALGORITHMS:
        body["algorithm"] = _ALGORITHMS[simple.string()]
    elif simple is not None and simple.string() != "UNSPECIFIED":
        simple.problem(f"is {simple.string()!r}, which does not exist here: LeastRequest applies")
    if consistent := settings.get("consistentHash"):
        body |= _consistent_hash(consistent)
    window = read_duration(settings.get("warmupDurationSecs"))
    if warmup := settings.get("warmup"):
        window = read_duration(warmup.get("duration")) or window
    if window:
        body["slowStart"] = {"window": window}
    return body


def _consistent_hash(settings: Value) -> Document:
    """Ring hash unless Maglev is set, as in Istio; nothing without a key that can be hashed here."""
    body: Document = {"algorithm": "Maglev" if settings.get("maglev") else "RingHash"}
    if settings.get("ringHash"):
        body["algorithm"] = "RingHash"
    if header := settings.text("httpHeaderName"):
        return body | {"hashOn": {"header": header}}
    if cookie := settings.get("httpCookie"):
        hashed: Document = {"name": cookie.text("name")}
        if cookie.get("ttl"):
            hashed["ttl"] = read_duration(cookie.get("ttl")) or "0s"
        return body | {"hashOn": {"cookie": hashed}}
    return {}


def _connection_pool(policy: Value) -> Document:
    pool = policy.get("connectionPool")
    if pool is None:
        return {}
    body: Document = {}
    if tcp := pool.get("tcp"):
        if timeout := read_duration(tcp.get("connectTimeout")):
            body["connectTimeout"] = timeout
        if keepalive := tcp.get("tcpKeepalive"):
            times = {name: read_duration(keepalive.get(name)) for name in ("time", "interval")}
            probes = {"probes": keepalive.integer("probes")}
            body["tcpKeepalive"] = {key: value for key, value in (times | probes).items() if value}
    if http := pool.get("http"):
        if timeout := read_duration(http.get("idleTimeout")):
            body["idleTimeout"] = timeout
        for name in ("maxRequestsPerConnection", "maxConcurrentStreams"):
            if count := http.integer(name):
                body[name] = count
    return body


def _circuit_breaker(policy: Value) -> Document:
    """Limits and ejection. Istio ejects nothing without `outlierDetection`."""
    body: Document = {}
    pool = policy.get("connectionPool")
    if pool and (tcp := pool.get("tcp")) and (limit := tcp.integer("maxConnections")):
        body["maxConnections"] = limit
    if pool and (http := pool.get("http")):
        for theirs, ours in (("http1MaxPendingRequests", "maxPending"), ("http2MaxRequests", "maxRequests")):
            if limit := http.integer(theirs):
                body[ours] = limit
    outlier = policy.get("outlierDetection")
    if outlier is None:
        return {"consecutiveFailures": NEVER} | body if body else {}
    return _ejection(outlier) | body


def _ejection(outlier: Value) -> Document:
    """Istio's defaults are 5 failures and 30 s (OutlierDetection)."""
    failures = outlier.integer("consecutive5xxErrors")
    if failures is None:
        failures = outlier.integer("consecutiveErrors")
    if failures == 0:
        outlier.note("ejects nothing for 5xx responses, nor does its CircuitBreaker")
    percent = outlier.get("maxEjectionPercent")
    if percent is None or percent.node.value != 100:
        (percent or outlier).note("may eject every instance here: there is no maxEjectionPercent")
    return {
        "consecutiveFailures": NEVER if failures == 0 else (failures or 5),
        "openFor": read_duration(outlier.get("baseEjectionTime")) or "30s",
    }


def _retry_budget(policy: Value) -> Document:
    """The budget, with the retries that the mesh makes without a Retry."""
    budget = policy.get("retryBudget")
    if budget is None:
        return {}
    percent, minimum = budget.number("percent"), budget.integer("minRetryConcurrency")
    body: Document = {"percent": 20.0 if percent is None else float(percent)}
    body["minConcurrency"] = 3 if minimum is None else minimum
    return {"attempts": 2, "on": ["connect-failure", "refused-stream"], "budget": body}


def _check_tls(policy: Value) -> None:
    """Sidecars use mutual TLS by themselves; any other mode is a remark."""
    if (tls := policy.get("tls")) is None:
        return
    mode = tls.get("mode")
    if mode is None or mode.string() != "ISTIO_MUTUAL":
        (mode or tls).problem("is not converted: sidecars use mutual TLS; see MutualTLS, BackendTLSPolicy")
