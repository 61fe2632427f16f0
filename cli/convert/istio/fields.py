"""Every field of the routing kinds that are read: what it becomes, or why it becomes nothing.

The page docs/convert-istio.md is made of this, and so is what `mesh convert istio` says of a field that it
did not read. The names are those of Istio's API, networking/v1. A field stands for all below it unless they
have entries of their own.
"""

from __future__ import annotations

from meshwright.cli.convert.fields import KindFields, below

CONDITIONS = {
    "scheme": "a route has no condition on the scheme",
    "authority": "a route is for every name of its service: write a VirtualService for each host",
    "port": "a match has no port: write a parentRef with one",
    "sourceLabels": "a route is the same for every instance that calls",
    "sourceNamespace": "a mesh has one namespace",
    "withoutHeaders": "no match asks for the absence of a header",
}
"""Conditions of HTTPMatchRequest that no match can have. A match with one is left out."""

_DESTINATION = {
    "host": "`backendRef.name`; a host outside the mesh is named as unsupported",
    "subset": "`backendRef` of kind Subset",
    "port.number": "`backendRef.port`",
}
_HEADERS = {
    "headers.request": "RequestHeaderModifier; values are literal",
    "headers.response": "ResponseHeaderModifier; values are literal",
}
STREAM_CONDITIONS = {
    "destinationSubnets": "connections have one address in a mesh of names",
    "sourceLabels": CONDITIONS["sourceLabels"],
    "sourceNamespace": CONDITIONS["sourceNamespace"],
    "sourceSubnet": "see Authorization",
    "gateways": "write a VirtualService for each gateway",
}
"""Conditions of L4MatchAttributes and TLSMatchAttributes that no route can have."""

VIRTUAL_SERVICE = KindFields(
    converted={
        "spec.hosts": "`parentRefs` of kind Service, and `hostnames` at a gateway",
        "spec.gateways": "`parentRefs` of kind Gateway; `mesh` or none: of kind Service",
        "spec.http.name": "`rules.name`",
        "spec.http.match.name": "ignored: it names routes in statistics",
        "spec.http.match.uri": "`path`; a prefix matches whole segments, ignoreUriCase makes an expression",
        "spec.http.match.ignoreUriCase": "a regular expression with `(?i)`",
        "spec.http.match.method": "`method`; `GET|POST` becomes two matches",
        "spec.http.match.headers": "`headers`; a prefix becomes a regular expression, no value any value",
        "spec.http.match.queryParams": "`queryParams`, the same way",
        "spec.http.match.gateways": "a route for each gateway where they differ",
        **below("spec.http.route.destination", _DESTINATION),
        "spec.http.route.weight": "`backendRefs.weight`",
        **below("spec.http.route", _HEADERS),
        "spec.http.redirect.uri": "RequestRedirect, ReplaceFullPath",
        "spec.http.redirect.prefixRewrite": "RequestRedirect, ReplacePrefixMatch",
        "spec.http.redirect.authority": "RequestRedirect, `hostname` and `port`",
        "spec.http.redirect.port": "RequestRedirect, `port`",
        "spec.http.redirect.derivePort": "the port of the new scheme, without one the listener's",
        "spec.http.redirect.scheme": "RequestRedirect, `scheme`",
        "spec.http.redirect.redirectCode": "RequestRedirect, `statusCode`; 301 by default as in Istio",
        "spec.http.rewrite.uri": "URLRewrite, `path`: of the prefix that matched, else all of it",
        "spec.http.rewrite.authority": "URLRewrite, `hostname`",
        "spec.http.timeout": "`timeouts.request`",
        "spec.http.retries.attempts": "Retry, `attempts`; at most 10",
        "spec.http.retries.perTryTimeout": "Retry, `perTryTimeout`",
        "spec.http.retries.retryOn": "Retry, `on`; Istio's default if missing",
        "spec.http.retries.backoff": "Retry, `backoff.base`, and ten times as much at most",
        "spec.http.retries.retryRemoteLocalities": "false; true is named as unsupported",
        "spec.http.retries.retryIgnorePreviousHosts": "true; false is named as unsupported",
        "spec.http.fault.delay.fixedDelay": "FaultInjection, `delay.fixed`",
        "spec.http.fault.delay.percentage": "FaultInjection, `delay.percent`; 0 if missing, as in Istio",
        "spec.http.fault.delay.percent": "the same",
        "spec.http.fault.abort.httpStatus": "FaultInjection, `abort.status`",
        "spec.http.fault.abort.grpcStatus": "FaultInjection, `abort.grpcStatus`",
        "spec.http.fault.abort.percentage": "FaultInjection, `abort.percent`; 0 if missing, as in Istio",
        **below("spec.http.mirror", _DESTINATION),
        "spec.http.mirrorPercentage": "RequestMirror, `percent` or `fraction`",
        "spec.http.mirrorPercent": "RequestMirror, `percent`",
        **below("spec.http.mirrors.destination", _DESTINATION),
        "spec.http.mirrors.percentage": "RequestMirror, `percent` or `fraction`",
        "spec.http.corsPolicy.allowOrigin": "CORS, `allowOrigins`",
        "spec.http.corsPolicy.allowOrigins": "CORS, `allowOrigins`; exact ones, and `.*` as `*`",
        "spec.http.corsPolicy.allowMethods": "CORS, `allowMethods`",
        "spec.http.corsPolicy.allowHeaders": "CORS, `allowHeaders`",
        "spec.http.corsPolicy.exposeHeaders": "CORS, `exposeHeaders`",
        "spec.http.corsPolicy.maxAge": "CORS, `maxAge`",
        "spec.http.corsPolicy.allowCredentials": "CORS, `allowCredentials`",
        "spec.http.corsPolicy.unmatchedPreflights": "FORWARD; IGNORE is named as unsupported",
        **below("spec.http", _HEADERS),
        "spec.tcp.match.port": "TCPRoute, `parentRefs.port`",
        **below("spec.tcp.route.destination", _DESTINATION),
        "spec.tcp.route.weight": "TCPRoute, `backendRefs.weight`",
        "spec.tls.match.sniHosts": "TLSRoute, `hostnames`, at gateways only",
        "spec.tls.match.port": "ignored: the port is that of the gateway's listener",
        **below("spec.tls.route.destination", _DESTINATION),
        "spec.tls.route.weight": "TLSRoute, `backendRefs.weight`",
    },
    unsupported={
        "spec.exportTo": "a mesh has one namespace, and every sidecar sees its routes",
        **below("spec.http.match", CONDITIONS),
        "spec.http.match.statPrefix": "statistics are named after services",
        "spec.http.directResponse": "no route answers by itself; its rule answers 500",
        "spec.http.delegate": "write the delegate's rules here; its rule answers 500",
        "spec.http.rewrite.uriRegexRewrite": "a path is rewritten by prefix or as a whole",
        "spec.http.fault.delay.exponentialDelay": "a delay is fixed",
        "spec.http.fault.abort.http2Error": "an abort is a status",
        **below("spec.tcp.match", STREAM_CONDITIONS),
        **below("spec.tls.match", STREAM_CONDITIONS),
    },
)

_TRAFFIC_POLICY = "spec.trafficPolicy"

DESTINATION_RULE = KindFields(
    converted={
        "spec.host": "`targetRefs` of kind Service",
        "spec.subsets.name": "Subset SERVICE-NAME",
        "spec.subsets.labels": "Subset, `labels`; without any it is the service",
        **below(
            _TRAFFIC_POLICY,
            {
                "loadBalancer.simple": "LoadBalancer, `algorithm`; PASSTHROUGH is named as unsupported",
                "loadBalancer.consistentHash.httpHeaderName": "LoadBalancer, `hashOn.header`",
                "loadBalancer.consistentHash.httpCookie.name": "LoadBalancer, `hashOn.cookie.name`",
                "loadBalancer.consistentHash.httpCookie.ttl": "LoadBalancer, `hashOn.cookie.ttl`",
                "loadBalancer.consistentHash.ringHash": "LoadBalancer, `algorithm: RingHash`",
                "loadBalancer.consistentHash.maglev": "LoadBalancer, `algorithm: Maglev`",
                "loadBalancer.warmup.duration": "LoadBalancer, `slowStart.window`",
                "loadBalancer.warmupDurationSecs": "LoadBalancer, `slowStart.window`",
                "connectionPool.tcp.maxConnections": "CircuitBreaker, `maxConnections`",
                "connectionPool.tcp.connectTimeout": "ConnectionPool, `connectTimeout`",
                "connectionPool.tcp.tcpKeepalive": "ConnectionPool, `tcpKeepalive`",
                "connectionPool.http.http1MaxPendingRequests": "CircuitBreaker, `maxPending`",
                "connectionPool.http.http2MaxRequests": "CircuitBreaker, `maxRequests`",
                "connectionPool.http.maxRequestsPerConnection": "ConnectionPool, the same name",
                "connectionPool.http.maxConcurrentStreams": "ConnectionPool, the same name",
                "connectionPool.http.idleTimeout": "ConnectionPool, `idleTimeout`",
                "outlierDetection.consecutive5xxErrors": "CircuitBreaker, `consecutiveFailures`; 0: never",
                "outlierDetection.consecutiveErrors": "the same",
                "outlierDetection.baseEjectionTime": "CircuitBreaker, `openFor`; 30s if missing",
                "outlierDetection.maxEjectionPercent": "100, with a note otherwise",
                "tls.mode": "ISTIO_MUTUAL: what sidecars do; others are named as unsupported",
                "retryBudget.percent": "Retry, `budget.percent`",
                "retryBudget.minRetryConcurrency": "Retry, `budget.minConcurrency`; 3 if missing",
            },
        ),
    },
    unsupported={
        "spec.exportTo": "a mesh has one namespace, and every sidecar sees its policies",
        "spec.workloadSelector": "a policy for some callers has `from`, with their services",
        "spec.subsets.trafficPolicy": "a policy is for a service, not for a Subset",
        **below(
            _TRAFFIC_POLICY,
            {
                "portLevelSettings": "a policy is for a service with all its ports",
                "tunnel": "a sidecar opens no tunnels",
                "proxyProtocol": "sidecars pass identities by mutual TLS",
                "loadBalancer.consistentHash.useSourceIp": "behind a sidecar it is loopback; see `from`",
                "loadBalancer.consistentHash.httpQueryParameterName": "hash a header or a cookie",
                "loadBalancer.consistentHash.httpCookie.path": "the cookie is for every path",
                "loadBalancer.consistentHash.httpCookie.attributes": "the cookie has no attributes",
                "loadBalancer.consistentHash.minimumRingSize": "Envoy's default applies",
                "loadBalancer.consistentHash.ringHash.minimumRingSize": "Envoy's default applies",
                "loadBalancer.consistentHash.maglev.tableSize": "Envoy's default applies",
                "loadBalancer.localityLbSetting": "see LoadBalancer, `locality`",
                "loadBalancer.zoneAwareLbSetting": "see LoadBalancer, `locality`",
                "loadBalancer.warmup.minimumPercent": "a new instance starts with a tenth",
                "loadBalancer.warmup.aggression": "the share grows evenly",
                "connectionPool.tcp.maxConnectionDuration": "connections end when they are idle",
                "connectionPool.tcp.idleTimeout": "see Timeout, `idle`",
                "connectionPool.http.maxRetries": "see Retry, `budget`",
                "connectionPool.http.h2UpgradePolicy": "sidecars choose the protocol",
                "connectionPool.http.useClientProtocol": "sidecars choose the protocol",
                "connectionPool.http.http2KeepAlive": "see ConnectionPool, `tcpKeepalive`",
                "outlierDetection.splitExternalLocalOriginErrors": "failed connections count as failures",
                "outlierDetection.consecutiveLocalOriginFailures": "failed connections count as failures",
                "outlierDetection.consecutiveGatewayErrors": "every 5xx is a failure",
                "outlierDetection.interval": "an ejection is not delayed",
                "outlierDetection.minHealthPercent": "see LoadBalancer, `allUnhealthy`",
                "outlierDetection.outlierDetectionHttpErrorCodes": "every 5xx is a failure",
                "tls.clientCertificate": "sidecars have identities of their own",
                "tls.privateKey": "sidecars have identities of their own",
                "tls.caCertificates": "see BackendTLSPolicy",
                "tls.credentialName": "see BackendTLSPolicy",
                "tls.subjectAltNames": "see BackendTLSPolicy",
                "tls.sni": "see BackendTLSPolicy",
                "tls.insecureSkipVerify": "certificates are always verified",
                "tls.caCrl": "see BackendTLSPolicy",
                "retryBudget.budgetInterval": "the budget counts requests in flight",
            },
        ),
    },
)
