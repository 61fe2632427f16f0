"""MeshRetry, MeshTimeout, MeshCircuitBreaker and MeshHealthCheck. Kuma's defaults apply."""

from __future__ import annotations

from meshwright.cli.convert.documents import Document, Documents
from meshwright.cli.convert.durations import read_duration
from meshwright.cli.convert.kuma.targets import outbound
from meshwright.cli.convert.reading import Value

_CONDITIONS = {
    "5xx": "5xx",
    "5XX": "5xx",
    "GatewayError": "gateway-error",
    "Reset": "reset",
    "Retriable4xx": "retriable-4xx",
    "ConnectFailure": "connect-failure",
    "RefusedStream": "refused-stream",
    "Canceled": "cancelled",
    "DeadlineExceeded": "deadline-exceeded",
    "Internal": "internal",
    "ResourceExhausted": "resource-exhausted",
    "Unavailable": "unavailable",
}
_HTTP_DEFAULT = ("gateway-error", "connect-failure", "refused-stream")
_GRPC_DEFAULT = (
    "cancelled",
    "connect-failure",
    "gateway-error",
    "refused-stream",
    "reset",
    "resource-exhausted",
    "unavailable",
)
"""What Kuma retries if a MeshRetry names no condition, or statuses alone (its meshretry/plugin/xds)."""

MAX_ATTEMPTS = 10

NEVER = 100_000
"""Failures in a row that eject an instance, for a breaker that ejects none: the most there may be."""


def convert_retry(spec: Value, name: str, documents: Documents) -> None:
    """Add a Retry for each destination: of `http`, or else of `grpc`."""
    for policy, default, body in outbound(spec, name):
        http, grpc = default.get("http"), default.get("grpc")
        if http and grpc:
            grpc.problem("is not converted beside http: a Retry is for all requests to a service")
        source = http or grpc
        if source is None:
            continue
        retry = _retry(source, _HTTP_DEFAULT if http else _GRPC_DEFAULT)
        if http:
            http.note("is for idempotent requests only here: a POST that may be done is not sent again")
        documents.add(source, "Retry", policy, body | retry)


def _retry(source: Value, default: tuple[str, ...]) -> Document:
    attempts = source.integer("numRetries")
    if attempts is not None and attempts > MAX_ATTEMPTS:
        message = f"has {attempts} retries, and {MAX_ATTEMPTS} are possible: it has {MAX_ATTEMPTS}"
        source.problem(message, below=False)
    body: Document = {"attempts": 1 if attempts is None else min(attempts, MAX_ATTEMPTS)}
    if timeout := _positive(source, "perTryTimeout"):
        body["perTryTimeout"] = timeout
    if backoff := source.get("backOff"):
        base = read_duration(backoff.get("baseInterval")) or "25ms"
        body["backoff"] = {"base": base, "max": read_duration(backoff.get("maxInterval")) or "250ms"}
    conditions: list[str | int] = []
    for item in source.items("retryOn"):
        text = item.string()
        if text in _CONDITIONS:
            conditions.append(_CONDITIONS[text])
        elif text.isdecimal() and 400 <= int(text) <= 599:
            conditions.append(int(text))
        else:
            item.problem(f"is {text!r}, which is no condition here: it is left out")
    if not any(isinstance(condition, str) for condition in conditions):
        conditions = [*default, *conditions]
    return body | {"on": list(dict.fromkeys(conditions))}


def _positive(source: Value, field: str) -> str | None:
    """A duration; None if it is missing or 0s, which is none."""
    text = read_duration(source.get(field))
    return None if text == "0s" else text


def convert_timeout(spec: Value, name: str, documents: Documents) -> None:
    """Add a Timeout and a ConnectionPool for each destination."""
    for policy, default, body in outbound(spec, name):
        pool = {
            ours: text
            for theirs, ours in (("connectionTimeout", "connectTimeout"), ("idleTimeout", "idleTimeout"))
            if (text := _positive(default, theirs))
        }
        limits: Document = {}
        if http := default.get("http"):
            for theirs, ours in (("requestTimeout", "request"), ("streamIdleTimeout", "idle")):
                if text := read_duration(http.get(theirs)):
                    limits[ours] = text
        if limits:
            documents.add(default, "Timeout", policy, body | limits)
        if pool:
            documents.add(default, "ConnectionPool", policy, body | pool)


def convert_circuit_breaker(spec: Value, name: str, documents: Documents) -> None:
    """Add a CircuitBreaker for each destination."""
    for policy, default, body in outbound(spec, name):
        ejection: Document = {"consecutiveFailures": NEVER}
        if outlier := default.get("outlierDetection"):
            ejection = _ejection(outlier)
        limits = default.get("connectionLimits")
        names = {
            "maxConnections": "maxConnections",
            "maxPendingRequests": "maxPending",
            "maxRequests": "maxRequests",
        }
        values = {ours: limits.integer(theirs) for theirs, ours in names.items()} if limits else {}
        present = {field: value for field, value in values.items() if value}
        documents.add(default, "CircuitBreaker", policy, body | ejection | present)


def _ejection(outlier: Value) -> Document:
    """Kuma ejects for detectors that have a number (its meshcircuitbreaker/plugin/xds), at first for 30 s."""
    detectors = outlier.get("detectors")
    total = detectors.get("totalFailures") if detectors else None
    failures = total.integer("consecutive") if total else None
    time = read_duration(outlier.get("baseEjectionTime")) or "30s"
    if outlier.flag("disabled") or not failures:
        return {"consecutiveFailures": NEVER}
    percent = outlier.get("maxEjectionPercent")
    if percent is None or percent.node.value != 100:
        (percent or outlier).note("may eject every instance here: there is no maxEjectionPercent")
    return {"consecutiveFailures": failures, "openFor": time}


def convert_health_check(spec: Value, name: str, documents: Documents) -> None:
    """Add a HealthCheck for each destination: of `http`, or else of `grpc`, or else of `tcp`."""
    for policy, default, body in outbound(spec, name):
        probes = {field: value for field in ("http", "grpc", "tcp") if (value := default.get(field))}
        enabled = [field for field, value in probes.items() if not value.flag("disabled")]
        for field in probes.keys() - enabled:
            probes[field].skip()
        for field in enabled[1:]:
            probes[field].problem(f"is not converted beside {enabled[0]}: a HealthCheck has one probe")
        if not enabled:
            default.note("has no probe that is enabled: there is no HealthCheck")
            default.skip()
            continue
        body |= {enabled[0]: _probe(enabled[0], probes[enabled[0]])}
        body["interval"] = read_duration(default.get("interval")) or "1m"
        body["timeout"] = read_duration(default.get("timeout")) or "15s"
        for field, missing in (("unhealthyThreshold", 5), ("healthyThreshold", 1)):
            count = default.integer(field)
            body[field] = missing if count is None else count
        documents.add(default, "HealthCheck", policy, body)


def _probe(kind: str, source: Value) -> Document:
    if kind == "http":
        statuses = [item.node.value for item in source.items("expectedStatuses")]
        return {"path": source.text("path", "/")} | ({"expectedStatuses": statuses} if statuses else {})
    return {"service": source.text("serviceName")} if kind == "grpc" else {}
