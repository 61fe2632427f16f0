"""Every field of the kinds that are read: what it becomes, or why it becomes nothing.

The page docs/convert-consul.md is made of this. The names are those of Consul's documentation for
Kubernetes, without `spec`; names in HCL are found whatever their case. A field stands for all below it
unless they have entries of their own.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshwright.cli.convert.fields import KindFields, below

_COMMON = {
    "namespace": "a mesh has one namespace",
    "partition": "a mesh has no partitions",
}
_ELSEWHERE = {
    "namespace": "a mesh has one namespace",
    "partition": "a mesh has no partitions",
}
_HEADERS = {
    f"{field}.{action}": f"{kind}, `{action}`; values are literal"
    for field, kind in (
        ("requestHeaders", "RequestHeaderModifier"),
        ("responseHeaders", "ResponseHeaderModifier"),
    )
    for action in ("add", "set", "remove")
}
_HTTP = "routes.match.http"
_PATHS = {
    "pathExact": "`path`, Exact",
    "pathPrefix": "`path`, PathPrefix: it matches whole segments",
    "methods": "a match for each method",
}
_HEADER_CONDITIONS = {
    "name": "`headers.name`",
    "exact": "Exact",
    "prefix": "a regular expression",
    "suffix": "a regular expression",
    "contains": "a regular expression",
    "regex": "RegularExpression",
    "present": "a regular expression for any value",
    "ignoreCase": "a regular expression with `(?i)`",
}

ROUTER = KindFields(
    converted={
        **below(_HTTP, _PATHS),
        f"{_HTTP}.pathRegex": "`path`, RegularExpression",
        f"{_HTTP}.caseInsensitive": "a regular expression with `(?i)`",
        **below(f"{_HTTP}.header", _HEADER_CONDITIONS),
        f"{_HTTP}.queryParam.name": "`queryParams.name`",
        f"{_HTTP}.queryParam.exact": "Exact",
        f"{_HTTP}.queryParam.regex": "RegularExpression",
        f"{_HTTP}.queryParam.present": "a regular expression for any value",
        **below(
            "routes.destination",
            {
                "service": "`backendRefs`, by the splitter and resolver of that service",
                "serviceSubset": "`backendRefs` of kind Subset",
                "prefixRewrite": "URLRewrite, `path`",
                "requestTimeout": "`timeouts.request`",
                "idleTimeout": "Timeout, `idle`",
                "numRetries": "Retry, `attempts`; at most 10",
                "retryOnConnectFailure": "Retry, `on: connect-failure`",
                "retryOn": "Retry, `on`",
                "retryOnStatusCodes": "Retry, `on`",
                **_HEADERS,
            },
        ),
    },
    unsupported={
        **_COMMON,
        f"{_HTTP}.header.invert": "no match asks for the absence of a header: its match is left out",
        **below("routes.destination", _ELSEWHERE),
    },
)

SPLITTER = KindFields(
    converted={
        "splits.weight": "`backendRefs.weight`, in hundredths of a percent",
        "splits.service": "`backendRefs`, by the resolver of that service",
        "splits.serviceSubset": "`backendRefs` of kind Subset",
        **below("splits", _HEADERS),
    },
    unsupported={**_COMMON, **below("splits", _ELSEWHERE)},
)

RESOLVER = KindFields(
    converted={
        "defaultSubset": "`backendRefs` of kind Subset, where nobody names another one",
        "subsets.name": "Subset SERVICE-NAME",
        "subsets.filter": "Subset, `labels`: `Service.Meta.KEY == VALUE`, `TAG in Service.Tags`, with `and`",
        "subsets.onlyPassing": "true: instances that fail their checks get no requests here",
        "redirect.service": "`backendRefs`",
        "redirect.serviceSubset": "`backendRefs` of kind Subset",
        "connectTimeout": "ConnectionPool, `connectTimeout`",
        "requestTimeout": "Timeout, `request`",
        "loadBalancer.policy": "LoadBalancer, `algorithm`",
        "loadBalancer.hashPolicies.field": "`hashOn`: header or cookie",
        "loadBalancer.hashPolicies.fieldValue": "LoadBalancer, the name of the header or cookie",
        "loadBalancer.hashPolicies.cookieConfig.ttl": "LoadBalancer, `hashOn.cookie.ttl`",
        "loadBalancer.hashPolicies.cookieConfig.session": "LoadBalancer, `hashOn.cookie.ttl: 0s`",
        "loadBalancer.hashPolicies.terminal": "ignored: there is one key",
    },
    unsupported={
        **_COMMON,
        **below("redirect", _ELSEWHERE),
        "redirect.datacenter": "a mesh is one datacenter: requests to it get 500",
        "redirect.peer": "a mesh has no peers: requests to it get 500",
        "redirect.samenessGroup": "a mesh has no sameness groups: requests to it get 500",
        "failover": "instances in other zones take over by LoadBalancer, `locality`; other services do not",
        "prioritizeByLocality": "see LoadBalancer, `locality`",
        "loadBalancer.leastRequestConfig": "two random instances are compared",
        "loadBalancer.ringHashConfig": "Envoy's default applies",
        "loadBalancer.hashPolicies.sourceIP": "behind a sidecar it is loopback",
        "loadBalancer.hashPolicies.cookieConfig.path": "the cookie is for every path",
    },
)

_LIMITS = {
    "limits.maxConnections": "CircuitBreaker, `maxConnections`",
    "limits.maxPendingRequests": "CircuitBreaker, `maxPending`",
    "limits.maxConcurrentRequests": "CircuitBreaker, `maxRequests`",
    "passiveHealthCheck.maxFailures": "CircuitBreaker, `consecutiveFailures`",
    "passiveHealthCheck.baseEjectionTime": "CircuitBreaker, `openFor`; 30s if missing",
    "connectTimeoutMs": "ConnectionPool, `connectTimeout`",
}
_NO_LIMITS = {
    "passiveHealthCheck.interval": "failures in a row count, not those of an interval",
    "passiveHealthCheck.enforcingConsecutive5xx": "an instance that failed is always ejected",
    "passiveHealthCheck.maxEjectionPercent": "every instance may be ejected",
    "protocol": "the application file has the protocol of a port",
    "meshGateway": "sidecars call each other directly",
    "balanceOutboundConnections": "Envoy's default applies",
    "envoyListenerJSON": "see EnvoyPatch",
    "envoyClusterJSON": "see EnvoyPatch",
}

DEFAULTS = KindFields(
    converted={
        "protocol": "the kind of the service's route; the application file has the protocol itself",
        **below("upstreamConfig.defaults", _LIMITS),
        "upstreamConfig.overrides.name": "`targetRefs`; `from` is this service",
        **below("upstreamConfig.overrides", _LIMITS),
        "rateLimits.instanceLevel.requestsPerSecond": "RateLimit, `requests`",
        "rateLimits.instanceLevel.requestsMaxBurst": "RateLimit, `burst`",
    },
    unsupported={
        **_COMMON,
        **below("upstreamConfig.defaults", _NO_LIMITS),
        **below("upstreamConfig.overrides", _NO_LIMITS | _ELSEWHERE),
        "upstreamConfig.overrides.peer": "a mesh has no peers",
        "rateLimits.instanceLevel.routes": "a RateLimit here is for a whole service",
        "mode": "the application file says which ports a sidecar opens",
        "transparentProxy": "the application file says which ports a sidecar opens",
        "mutualTLSMode": "see MutualTLS; strict by default",
        "meshGateway": "sidecars call each other directly",
        "externalSNI": "see ExternalService",
        "expose": "paths without mutual TLS: see Gateway",
        "destination": "see ExternalService",
        "maxInboundConnections": "see CircuitBreaker, `maxConnections`, for each caller",
        "balanceInboundConnections": "Envoy's default applies",
        "localConnectTimeoutMs": "the application is on loopback",
        "localRequestTimeoutMs": "see Timeout, `request`, at the callers",
        "envoyExtensions": "see EnvoyPatch",
    },
)

PROXY_DEFAULTS = KindFields(
    converted={
        "config.protocol": "the kind of the route of services without service-defaults",
        "accessLogs.enabled": "Telemetry, `accessLog`",
        "accessLogs.type": "stdout or a file: logs/NAME.proxy.log here",
    },
    unsupported={
        **_COMMON,
        "config.localConnectTimeoutMs": "the application is on loopback",
        "config.localRequestTimeoutMs": "see Timeout, `request`, at the callers",
        "config.envoyPrometheusBindAddr": "the control plane has the metrics of all sidecars",
        "config.envoyDogstatsdUrl": "the control plane has the metrics of all sidecars",
        "config.envoyTracingJson": "see Telemetry",
        "accessLogs.path": "logs are in logs/NAME.proxy.log",
        "accessLogs.disableListenerLogs": "connections without a request are not logged",
        "accessLogs.jsonFormat": "the format is the mesh's own",
        "accessLogs.textFormat": "the format is the mesh's own",
        "mode": "the application file says which ports a sidecar opens",
        "transparentProxy": "the application file says which ports a sidecar opens",
        "mutualTLSMode": "see MutualTLS; strict by default",
        "meshGateway": "sidecars call each other directly",
        "expose": "paths without mutual TLS: see Gateway",
        "failoverPolicy": "see LoadBalancer, `locality`",
        "prioritizeByLocality": "see LoadBalancer, `locality`",
        "envoyExtensions": "see EnvoyPatch",
    },
)

_PERMISSION = "sources.permissions"

INTENTIONS = KindFields(
    converted={
        "destination.name": "`targetRefs`; `*` is the Mesh",
        "sources.name": "`from.services`; `*` is every service without a source of its own",
        "sources.action": "`action`",
        "sources.type": "consul, which is the only type",
        "sources.description": "ignored: it is for people",
        "sources.precedence": "ignored: it follows from the names",
        f"{_PERMISSION}.action": "`action`; here deny wins whatever the order, so fewer requests may pass",
        f"{_PERMISSION}.http.pathExact": "`to.paths`, Exact",
        f"{_PERMISSION}.http.pathPrefix": "`to.paths`, Template or PathPrefix",
        f"{_PERMISSION}.http.methods": "`to.methods`",
        **below(f"{_PERMISSION}.http.header", _HEADER_CONDITIONS),
    },
    unsupported={
        **_COMMON,
        "jwt": "see JWTAuthentication: every call is refused",
        "destination.namespace": "a mesh has one namespace: every call is refused",
        "sources.namespace": "a mesh has one namespace: its source is refused",
        "sources.partition": "a mesh has no partitions: its source is refused",
        "sources.peer": "a mesh has no peers: its source is refused",
        "sources.samenessGroup": "a mesh has no sameness groups: its source is refused",
        f"{_PERMISSION}.jwt": "see JWTAuthentication: it allows nothing",
        f"{_PERMISSION}.http.pathRegex": "no rule has expressions for paths: allows nothing, or denies all",
        f"{_PERMISSION}.http.header.invert": "no rule asks for absence: it allows nothing, or denies all",
    },
)

KINDS: Mapping[str, KindFields] = {
    "service-router": ROUTER,
    "service-splitter": SPLITTER,
    "service-resolver": RESOLVER,
    "service-defaults": DEFAULTS,
    "service-intentions": INTENTIONS,
    "proxy-defaults": PROXY_DEFAULTS,
}
