"""The kinds that are read: the fields of each, and what converts it. Names are those of kuma.io/v1alpha1."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from meshwright.cli.convert.documents import Documents
from meshwright.cli.convert.fields import KindFields, below
from meshwright.cli.convert.kuma.inbound import (
    convert_access_log,
    convert_fault_injection,
    convert_rate_limit,
    convert_traffic_permission,
)
from meshwright.cli.convert.kuma.resilience import (
    convert_circuit_breaker,
    convert_health_check,
    convert_retry,
    convert_timeout,
)
from meshwright.cli.convert.kuma.routes import convert_http_route, convert_tcp_route
from meshwright.cli.convert.reading import Value

CONVERTERS: Mapping[str, Callable[[Value, str, Documents], None]] = {
    "MeshHTTPRoute": convert_http_route,
    "MeshTCPRoute": convert_tcp_route,
    "MeshRetry": convert_retry,
    "MeshTimeout": convert_timeout,
    "MeshCircuitBreaker": convert_circuit_breaker,
    "MeshHealthCheck": convert_health_check,
    "MeshFaultInjection": convert_fault_injection,
    "MeshRateLimit": convert_rate_limit,
    "MeshTrafficPermission": convert_traffic_permission,
    "MeshAccessLog": convert_access_log,
}

_CALLERS = {"spec.targetRef": "`from`: the service of these proxies; Mesh: all callers"}
_CALLED = {"spec.targetRef": "`targetRefs`: the service of these proxies, or the Mesh"}
_TO = {"spec.to.targetRef": "`targetRefs`: a service, an ExternalService, an HTTPRoute or the Mesh"}
_FROM = {"spec.from.targetRef": "the callers, by their service; Mesh: all of them"}
_INBOUND = {
    "spec.from": "policies of this kind are for calls to a service: write it with `to`",
    "spec.rules": "policies of this kind are for calls to a service: write it with `to`",
}
_RULES = {"spec.rules": "callers are named by `from`"}
_ROUTES = {
    "spec.targetRef": "Mesh; others are named as unsupported: a route is for all callers",
    "spec.to.targetRef": "`parentRefs`: a MeshService",
    "spec.to.rules.default.backendRefs": "`backendRefs`; a MeshServiceSubset becomes a Subset",
}
_RETRY = {
    "numRetries": "Retry, `attempts`; at most 10",
    "perTryTimeout": "Retry, `perTryTimeout`",
    "backOff": "Retry, `backoff`",
    "retryOn": "Retry, `on`; Kuma's default if missing",
}
_FAULTS = {
    "abort.httpStatus": "FaultInjection, `abort.status`",
    "abort.percentage": "FaultInjection, `abort.percent`",
    "delay.value": "FaultInjection, `delay.fixed`",
    "delay.percentage": "FaultInjection, `delay.percent`",
}
_SLOW = {"responseBandwidth": "no fault limits the bandwidth"}
_BACKEND = {
    "tcp": "logs are files: let a collector read them",
    "file": "logs are logs/NAME.proxy.log, one JSON line each",
    "openTelemetry": "logs are files: let a collector read them",
}

_OUTBOUND: Mapping[str, KindFields] = {
    "MeshHTTPRoute": KindFields(
        converted={
            **_ROUTES,
            "spec.to.rules.matches": "`matches`; Prefix and Present as expressions, Absent is named",
            "spec.to.rules.default.filters": "`filters`, of the same types",
        },
        unsupported={
            "spec.to.hostnames": "write an HTTPRoute with a parentRef of kind Gateway",
            "spec.to.rules.default.filters.urlRewrite.hostToBackendHostname": "a host is literal",
        },
    ),
    "MeshTCPRoute": KindFields(converted=_ROUTES, unsupported={}),
    "MeshRetry": KindFields(
        converted={
            **_CALLERS,
            **_TO,
            **below("spec.to.default.http", _RETRY),
            "spec.to.default.grpc": "the same, if there is no `http`",
        },
        unsupported={
            "spec.to.default.tcp": "another instance is tried on its own",
            **below(
                "spec.to.default.http",
                {
                    "rateLimitedBackOff": "waits do not depend on the response",
                    "retriableResponseHeaders": "a retry depends on the status",
                    "retriableRequestHeaders": "idempotent requests are retried",
                    "hostSelection": "a retry goes to another instance",
                    "hostSelectionMaxAttempts": "a retry goes to another instance",
                },
            ),
        },
    ),
    "MeshTimeout": KindFields(
        converted={
            **_CALLERS,
            **_TO,
            "spec.to.default.connectionTimeout": "ConnectionPool, `connectTimeout`",
            "spec.to.default.idleTimeout": "ConnectionPool, `idleTimeout`",
            "spec.to.default.http.requestTimeout": "Timeout, `request`",
            "spec.to.default.http.streamIdleTimeout": "Timeout, `idle`",
        },
        unsupported={
            **_INBOUND,
            "spec.to.default.http.maxStreamDuration": "see Timeout, `request`",
            "spec.to.default.http.maxConnectionDuration": "connections end when they are idle",
            "spec.to.default.http.requestHeadersTimeout": "sidecars have a limit of their own",
        },
    ),
    "MeshCircuitBreaker": KindFields(
        converted={
            **_CALLERS,
            **_TO,
            **below(
                "spec.to.default",
                {
                    "connectionLimits.maxConnections": "CircuitBreaker, `maxConnections`",
                    "connectionLimits.maxPendingRequests": "CircuitBreaker, `maxPending`",
                    "connectionLimits.maxRequests": "CircuitBreaker, `maxRequests`",
                    "outlierDetection.disabled": "CircuitBreaker that ejects nothing",
                    "outlierDetection.baseEjectionTime": "CircuitBreaker, `openFor`; 30s if missing",
                    "outlierDetection.maxEjectionPercent": "100, with a note otherwise",
                    "outlierDetection.detectors.totalFailures.consecutive": "`consecutiveFailures`",
                },
            ),
        },
        unsupported={
            **_INBOUND,
            **below(
                "spec.to.default",
                {
                    "connectionLimits.maxConnectionPools": "there is one for each instance",
                    "connectionLimits.maxRetries": "see Retry, `budget`",
                    "outlierDetection.interval": "an ejection is not delayed",
                    "outlierDetection.splitExternalAndLocalErrors": "failed connections are failures",
                    "outlierDetection.healthyPanicThreshold": "see LoadBalancer, `allUnhealthy`",
                    "outlierDetection.detectors.gatewayFailures": "every 5xx is a failure",
                    "outlierDetection.detectors.localOriginFailures": "failed connections are failures",
                    "outlierDetection.detectors.successRate": "failures in a row are counted",
                    "outlierDetection.detectors.failurePercentage": "failures in a row are counted",
                },
            ),
        },
    ),
    "MeshHealthCheck": KindFields(
        converted={
            **_CALLERS,
            **_TO,
            **below(
                "spec.to.default",
                {
                    "interval": "HealthCheck, `interval`; 1m if missing",
                    "timeout": "HealthCheck, `timeout`; 15s if missing",
                    "unhealthyThreshold": "the same name; 5 if missing",
                    "healthyThreshold": "the same name; 1 if missing",
                    "http.disabled": "no probe of this type",
                    "http.path": "`http.path`",
                    "http.expectedStatuses": "`http.expectedStatuses`",
                    "grpc.disabled": "no probe of this type",
                    "grpc.serviceName": "`grpc.service`",
                    "tcp.disabled": "no probe of this type",
                },
            ),
        },
        unsupported=below(
            "spec.to.default",
            {
                "unhealthyInterval": "there is one interval",
                "initialJitter": "sidecars spread their probes",
                "intervalJitter": "sidecars spread their probes",
                "intervalJitterPercent": "sidecars spread their probes",
                "noTrafficInterval": "there is one interval",
                "failTrafficOnPanic": "see LoadBalancer, `allUnhealthy`",
                "eventLogPath": "see `mesh events`",
                "alwaysLogHealthCheckFailures": "see `mesh events`",
                "reuseConnection": "sidecars decide it",
                "http.requestHeadersToAdd": "a probe has no headers of its own",
                "grpc.authority": "it is the service's name",
                "tcp.send": "a probe by TCP only connects",
                "tcp.receive": "a probe by TCP only connects",
            },
        ),
    ),
}

_OTHERS: Mapping[str, KindFields] = {
    "MeshFaultInjection": KindFields(
        converted={
            **_CALLED,
            **_FROM,
            **_TO,
            **below("spec.from.default.http", _FAULTS),
            **below("spec.to.default.http", _FAULTS),
        },
        unsupported={
            **below("spec.from.default.http", _SLOW),
            **below("spec.to.default.http", _SLOW),
            **_RULES,
        },
    ),
    "MeshRateLimit": KindFields(
        converted={
            **_CALLED,
            "spec.from.targetRef": "Mesh; others are named as unsupported",
            "spec.from.default.local.http.disabled": "no RateLimit",
            "spec.from.default.local.http.requests": "RateLimit, `limits.requests`",
            "spec.from.default.local.http.interval": "RateLimit, `limits.per`",
        },
        unsupported={
            "spec.from.default.local.http.onRateLimit": "the status is 429",
            "spec.from.default.local.tcp": "requests are limited, and no connections",
            "spec.to": "limits are those of the called service: write it with `from`",
            **_RULES,
        },
    ),
    "MeshTrafficPermission": KindFields(
        converted={
            **_CALLED,
            **_FROM,
            "spec.from.default.action": "Authorization, `rules.action`; calls are refused without one",
        },
        unsupported={"spec.rules": "callers are named by `from`; every call is refused instead"},
    ),
    "MeshAccessLog": KindFields(
        converted={
            **_CALLED,
            **{f"spec.{side}.targetRef": "ignored: every request of the proxies" for side in ("to", "from")},
            **{
                f"spec.{side}.default.backends.type": "Telemetry, `accessLog: All`; no backends: Off"
                for side in ("to", "from", "rules")
            },
        },
        unsupported={
            **below("spec.to.default.backends", _BACKEND),
            **below("spec.from.default.backends", _BACKEND),
            **below("spec.rules.default.backends", _BACKEND),
            "spec.rules.matches": "every request of the proxies is logged",
        },
    ),
}

KINDS: Mapping[str, KindFields] = {**_OUTBOUND, **_OTHERS}
