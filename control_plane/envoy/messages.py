"""The short names of the Envoy messages that the control plane uses; a test rejects unused ones.

A message keeps its own name. Where two packages use the same name, the message that a mesh writes most keeps
it and the other one gets a longer name in `_RENAMED`. `v3` exposes these names, `v3.pyi` types them.
"""

from __future__ import annotations

_BY_PACKAGE: dict[str, str] = {
    "google.protobuf": "Any BoolValue Duration Struct UInt32Value UInt64Value Value",
    "envoy.config.accesslog.v3": """
        AccessLog AccessLogFilter AndFilter ComparisonFilter DurationFilter ExtensionFilter
        GrpcStatusFilter HeaderFilter OrFilter ResponseFlagFilter RuntimeFilter StatusCodeFilter""",
    "envoy.config.cluster.v3": "CircuitBreakers Cluster LoadBalancingPolicy OutlierDetection",
    "envoy.config.core.v3": """
        Address AggregatedConfigSource ApiConfigSource CidrRange ConfigSource DataSource EnvoyInternalAddress
        ExtensionConfigSource GrpcService HeaderValue HeaderValueOption HealthCheck Http1ProtocolOptions
        Http2ProtocolOptions HttpUri KeepaliveSettings Locality Metadata Node PathConfigSource
        RuntimeFractionalPercent RuntimeUInt32 SocketAddress SubstitutionFormatString TcpKeepalive
        TransportSocket TypedExtensionConfig""",
    "envoy.config.endpoint.v3": "ClusterLoadAssignment Endpoint LbEndpoint LocalityLbEndpoints",
    "envoy.config.listener.v3": "Filter FilterChain FilterChainMatch Listener ListenerFilter",
    "envoy.config.rbac.v3": "Permission Principal",
    "envoy.config.route.v3": """
        Decorator DirectResponseAction HeaderMatcher QueryParameterMatcher RedirectAction
        RetryPolicy Route RouteAction RouteConfiguration RouteMatch Vhds VirtualHost
        WeightedCluster""",
    "envoy.config.trace.v3": "OpenTelemetryConfig",
    "envoy.extensions.access_loggers.filters.cel.v3": "ExpressionFilter",
    "envoy.extensions.access_loggers.open_telemetry.v3": "OpenTelemetryAccessLogConfig",
    "envoy.extensions.access_loggers.stream.v3": "StdoutAccessLog",
    "envoy.extensions.filters.http.api_key_auth.v3": "ApiKeyAuth ApiKeyAuthPerRoute",
    "envoy.extensions.filters.http.basic_auth.v3": "BasicAuth BasicAuthPerRoute",
    "envoy.extensions.compression.brotli.compressor.v3": "Brotli",
    "envoy.extensions.compression.gzip.compressor.v3": "Gzip",
    "envoy.extensions.compression.zstd.compressor.v3": "Zstd",
    "envoy.extensions.filters.http.buffer.v3": "Buffer",
    "envoy.extensions.filters.http.compressor.v3": "Compressor",
    "envoy.extensions.filters.http.cors.v3": "Cors CorsPolicy",
    "envoy.extensions.filters.http.ext_authz.v3": "ExtAuthz",
    "envoy.extensions.filters.http.fault.v3": "FaultAbort HTTPFault",
    "envoy.extensions.filters.http.filter_chain.v3": "FilterChainConfig FilterChainConfigPerRoute",
    "envoy.extensions.filters.http.header_mutation.v3": "HeaderMutation HeaderMutationPerRoute Mutations",
    "envoy.extensions.filters.http.jwt_authn.v3": """
        JwksAsyncFetch JwtAuthentication JwtClaimToHeader JwtProvider JwtRequirement RemoteJwks
        RequirementRule""",
    "envoy.extensions.filters.http.local_ratelimit.v3": "LocalRateLimit",
    "envoy.extensions.filters.http.on_demand.v3": "OnDemand OnDemandCds",
    "envoy.extensions.common.ratelimit.v3": "RateLimitDescriptor",
    "envoy.extensions.filters.http.ratelimit.v3": "RateLimitPerRoute",
    "envoy.extensions.filters.http.rbac.v3": "RBAC RBACPerRoute",
    "envoy.extensions.filters.http.router.v3": "Router",
    "envoy.extensions.filters.common.set_filter_state.v3": "FilterStateValue",
    "envoy.extensions.filters.listener.tls_inspector.v3": "TlsInspector",
    "envoy.extensions.filters.network.http_connection_manager.v3": """
        HttpConnectionManager HttpFilter LocalReplyConfig Rds RequestIDExtension ResponseMapper""",
    "envoy.extensions.filters.network.tcp_proxy.v3": "TcpProxy",
    "envoy.extensions.load_balancing_policies.common.v3": "SlowStartConfig",
    "envoy.extensions.load_balancing_policies.least_request.v3": "LeastRequest",
    "envoy.extensions.load_balancing_policies.maglev.v3": "Maglev",
    "envoy.extensions.load_balancing_policies.random.v3": "Random",
    "envoy.extensions.load_balancing_policies.ring_hash.v3": "RingHash",
    "envoy.extensions.load_balancing_policies.round_robin.v3": "RoundRobin",
    "envoy.extensions.http.original_ip_detection.xff.v3": "XffConfig XffTrustedCidrs",
    "envoy.extensions.network.dns_resolver.cares.v3": "CaresDnsResolverConfig",
    "envoy.extensions.matching.common_inputs.ssl.v3": "UriSanInput",
    "envoy.extensions.network.dns_resolver.getaddrinfo.v3": "GetAddrInfoDnsResolverConfig",
    "envoy.extensions.rbac.matchers.upstream_ip_port.v3": "UpstreamIpPortMatcher",
    "envoy.extensions.request_id.uuid.v3": "UuidRequestIdConfig",
    "envoy.extensions.retry.host.previous_hosts.v3": "PreviousHostsPredicate",
    "envoy.extensions.tracers.opentelemetry.samplers.v3": """
        ParentBasedSamplerConfig TraceIdRatioBasedSamplerConfig""",
    "envoy.extensions.transport_sockets.raw_buffer.v3": "RawBuffer",
    "envoy.extensions.transport_sockets.tls.v3": """
        CertificateValidationContext CommonTlsContext DownstreamTlsContext
        SPIFFECertValidatorConfig SdsSecretConfig Secret SubjectAltNameMatcher TlsCertificate
        TlsParameters UpstreamTlsContext""",
    "envoy.extensions.upstreams.http.v3": "HttpProtocolOptions",
    "envoy.service.ratelimit.v3": "RateLimitRequest RateLimitResponse",
    "envoy.service.discovery.v3": "DeltaDiscoveryRequest DeltaDiscoveryResponse Resource",
    "envoy.type.matcher.v3": """
        AddressMatcher FilterStateMatcher ListMatcher PathMatcher RegexMatchAndSubstitute RegexMatcher
        StringMatcher ValueMatcher""",
    "envoy.type.tracing.v3": "CustomTag",
    "envoy.type.v3": "FractionalPercent Percent TokenBucket",
}

_RENAMED: dict[str, str] = {
    "CommonHttpProtocolOptions": "envoy.config.core.v3.HttpProtocolOptions",
    "ConfigHeaderMutation": "envoy.config.common.mutation_rules.v3.HeaderMutation",
    "DnsCacheConfig": "envoy.extensions.common.dynamic_forward_proxy.v3.DnsCacheConfig",
    "DynamicForwardProxy": "envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig",
    "DynamicForwardProxyCluster": "envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig",
    "EarlyHeaderMutation": "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
    "GlobalRateLimit": "envoy.extensions.filters.http.ratelimit.v3.RateLimit",
    "RateLimitServiceConfig": "envoy.config.ratelimit.v3.RateLimitServiceConfig",
    "RateLimitActions": "envoy.config.route.v3.RateLimit",
    "NetworkRBAC": "envoy.extensions.filters.network.rbac.v3.RBAC",
    "RBACPolicy": "envoy.config.rbac.v3.Policy",
    "RBACRules": "envoy.config.rbac.v3.RBAC",
    "GrpcStats": "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    "RouteFilterConfig": "envoy.config.route.v3.FilterConfig",
    "SetFilterState": "envoy.extensions.filters.http.set_filter_state.v3.Config",
    "ApiKeyForwarding": "envoy.extensions.filters.http.api_key_auth.v3.Forwarding",
    "JwtPerRoute": "envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig",
    "StatsAccessLog": "envoy.extensions.access_loggers.stats.v3.Config",
    "HealthCheckFilter": "envoy.extensions.filters.http.health_check.v3.HealthCheck",
    "AddressRange": "xds.core.v3.CidrRange",
    "TracingProvider": "envoy.config.trace.v3.Tracing",
}

MESSAGES: dict[str, str] = {
    name: f"{package}.{name}" for package, names in _BY_PACKAGE.items() for name in names.split()
} | _RENAMED
"""Short name to full name of every exposed message."""

ENUMS: dict[str, str] = {
    name: f"{package}.{name}"
    for package, names in {
        "envoy.config.core.v3": "ApiVersion HealthStatus",
        "envoy.extensions.common.ratelimit.v3": "XRateLimitHeadersRFCVersion",
    }.items()
    for name in names.split()
}
"""Short name to full name of every exposed enum that is not nested in a message."""
