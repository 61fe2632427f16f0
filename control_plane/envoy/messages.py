"""The short name of every Envoy message that the control plane speaks of.

A message keeps its own name; where two packages use the same one, that which a mesh writes most keeps it and
the other is told apart in `_RENAMED`. `v3` exposes these names, `v3.pyi` types them.
"""

from __future__ import annotations

_BY_PACKAGE: dict[str, str] = {
    "google.protobuf": """
        Any BoolValue BytesValue DoubleValue Duration Empty FieldMask FloatValue Int32Value
        Int64Value ListValue StringValue Struct Timestamp UInt32Value UInt64Value Value""",
    "google.rpc": "Status",
    "envoy.config.accesslog.v3": """
        AccessLog AccessLogFilter AndFilter ComparisonFilter DurationFilter ExtensionFilter
        GrpcStatusFilter HeaderFilter LogTypeFilter MetadataFilter NotHealthCheckFilter OrFilter
        ResponseFlagFilter RuntimeFilter StatusCodeFilter TraceableFilter""",
    "envoy.config.cluster.v3": """
        CircuitBreakers Cluster LoadBalancingPolicy OutlierDetection TrackClusterStats
        UpstreamConnectionOptions""",
    "envoy.config.core.v3": """
        Address AggregatedConfigSource ApiConfigSource BackoffStrategy BindConfig BuildVersion
        CidrRange ConfigSource ControlPlane DataSource EnvoyInternalAddress EventServiceConfig
        Extension ExtensionConfigSource GrpcService HeaderValue HeaderValueOption HealthCheck
        HealthStatusSet Http1ProtocolOptions Http2ProtocolOptions Http3ProtocolOptions HttpUri
        JsonFormatOptions KeepaliveSettings Locality Metadata Node PathConfigSource Pipe
        ProxyProtocolConfig RateLimitSettings RuntimeDouble RuntimeFeatureFlag
        RuntimeFractionalPercent RuntimeUInt32 SchemeHeaderTransformation SelfConfigSource
        SocketAddress SocketOption SocketOptionsOverride SubstitutionFormatString TcpKeepalive
        TransportSocket TypedExtensionConfig UpstreamHttpProtocolOptions WatchedDirectory""",
    "envoy.config.endpoint.v3": "ClusterLoadAssignment Endpoint LbEndpoint LocalityLbEndpoints",
    "envoy.config.listener.v3": """
        AdditionalAddress ApiListener Filter FilterChain FilterChainMatch Listener
        ListenerFilter ListenerFilterChainMatchPredicate UdpListenerConfig""",
    "envoy.config.rbac.v3": "Permission Principal SourcedMetadata",
    "envoy.config.route.v3": """
        ClusterSpecifierPlugin CookieMatcher CorsPolicy Decorator DirectResponseAction
        FilterAction FilterConfig HeaderMatcher HedgePolicy InternalRedirectPolicy
        NonForwardingAction QueryParameterMatcher RateLimit RedirectAction RetryPolicy Route
        RouteAction RouteConfiguration RouteMatch ScopedRouteConfiguration Tracing Vhds
        VirtualCluster VirtualHost WeightedCluster""",
    "envoy.config.trace.v3": "OpenTelemetryConfig",
    "envoy.extensions.access_loggers.file.v3": "FileAccessLog",
    "envoy.extensions.access_loggers.filters.cel.v3": "ExpressionFilter",
    "envoy.extensions.access_loggers.grpc.v3": """
        CommonGrpcAccessLogConfig HttpGrpcAccessLogConfig TcpGrpcAccessLogConfig""",
    "envoy.extensions.access_loggers.open_telemetry.v3": "OpenTelemetryAccessLogConfig",
    "envoy.extensions.access_loggers.stream.v3": "StderrAccessLog StdoutAccessLog",
    "envoy.extensions.bootstrap.internal_listener.v3": "InternalListener",
    "envoy.extensions.common.ratelimit.v3": """
        LocalClusterRateLimit LocalRateLimitDescriptor RateLimitDescriptor""",
    "envoy.extensions.filters.common.fault.v3": "FaultDelay FaultRateLimit",
    "envoy.extensions.filters.http.adaptive_concurrency.v3": "AdaptiveConcurrency GradientControllerConfig",
    "envoy.extensions.filters.http.admission_control.v3": "AdmissionControl",
    "envoy.extensions.filters.http.buffer.v3": "Buffer BufferPerRoute",
    "envoy.extensions.filters.http.cors.v3": "Cors",
    "envoy.extensions.filters.http.ext_authz.v3": "ExtAuthz ExtAuthzPerRoute",
    "envoy.extensions.filters.http.fault.v3": "FaultAbort HTTPFault",
    "envoy.extensions.filters.http.header_mutation.v3": "HeaderMutation HeaderMutationPerRoute Mutations",
    "envoy.extensions.filters.http.jwt_authn.v3": """
        ExtractOnlyWithoutValidation FilterStateRule JwksAsyncFetch JwtAuthentication
        JwtCacheConfig JwtClaimToHeader JwtHeader JwtProvider JwtRequirement
        JwtRequirementAndList JwtRequirementOrList ProviderWithAudiences RemoteJwks
        RequirementRule""",
    "envoy.extensions.filters.http.local_ratelimit.v3": "LocalRateLimit",
    "envoy.extensions.filters.http.lua.v3": "Lua LuaPerRoute",
    "envoy.extensions.filters.http.on_demand.v3": "OnDemand OnDemandCds",
    "envoy.extensions.filters.http.rbac.v3": "RBAC RBACPerRoute",
    "envoy.extensions.filters.http.router.v3": "Router",
    "envoy.extensions.filters.listener.original_dst.v3": "OriginalDst",
    "envoy.extensions.filters.listener.tls_inspector.v3": "TlsInspector",
    "envoy.extensions.filters.network.http_connection_manager.v3": """
        HttpConnectionManager HttpFilter LocalReplyConfig Rds RequestIDExtension ResponseMapper
        ScopedRds""",
    "envoy.extensions.filters.network.tcp_proxy.v3": "TcpProxy",
    "envoy.extensions.load_balancing_policies.cluster_provided.v3": "ClusterProvided",
    "envoy.extensions.load_balancing_policies.common.v3": """
        ConsistentHashingLbConfig LocalityLbConfig SlowStartConfig""",
    "envoy.extensions.load_balancing_policies.least_request.v3": "LeastRequest",
    "envoy.extensions.load_balancing_policies.maglev.v3": "Maglev",
    "envoy.extensions.load_balancing_policies.random.v3": "Random",
    "envoy.extensions.load_balancing_policies.ring_hash.v3": "RingHash",
    "envoy.extensions.load_balancing_policies.round_robin.v3": "RoundRobin",
    "envoy.extensions.load_balancing_policies.subset.v3": "Subset",
    "envoy.extensions.load_balancing_policies.wrr_locality.v3": "WrrLocality",
    "envoy.extensions.request_id.uuid.v3": "UuidRequestIdConfig",
    "envoy.extensions.retry.host.previous_hosts.v3": "PreviousHostsPredicate",
    "envoy.extensions.stat_sinks.open_telemetry.v3": "SinkConfig",
    "envoy.extensions.tracers.opentelemetry.resource_detectors.v3": "StaticConfigResourceDetectorConfig",
    "envoy.extensions.tracers.opentelemetry.samplers.v3": """
        AlwaysOnSamplerConfig ParentBasedSamplerConfig TraceIdRatioBasedSamplerConfig""",
    "envoy.extensions.transport_sockets.internal_upstream.v3": "InternalUpstreamTransport",
    "envoy.extensions.transport_sockets.raw_buffer.v3": "RawBuffer",
    "envoy.extensions.transport_sockets.tls.v3": """
        CertificateProviderPluginInstance CertificateValidationContext CommonTlsContext
        DownstreamTlsContext GenericSecret SPIFFECertValidatorConfig SdsSecretConfig Secret
        SubjectAltNameMatcher TlsCertificate TlsParameters TlsSessionTicketKeys
        UpstreamTlsContext""",
    "envoy.extensions.upstreams.http.v3": "HttpProtocolOptions",
    "envoy.service.discovery.v3": """
        DeltaDiscoveryRequest DeltaDiscoveryResponse DiscoveryRequest DiscoveryResponse
        DynamicParameterConstraints Resource ResourceError ResourceLocator ResourceName""",
    "envoy.type.http.v3": "PathTransformation",
    "envoy.type.matcher.v3": """
        DoubleMatcher FilterStateMatcher ListMatcher ListStringMatcher MetadataMatcher OrMatcher
        PathMatcher RegexMatchAndSubstitute RegexMatcher StringMatcher ValueMatcher""",
    "envoy.type.metadata.v3": "MetadataKey MetadataKind",
    "envoy.type.tracing.v3": "CustomTag",
    "envoy.type.v3": """
        DoubleRange FractionalPercent HttpStatus Int32Range Int64Range Percent SemanticVersion
        TokenBucket""",
    "xds.core.v3": "ContextParams",
    "xds.type.matcher.v3": "Matcher CelMatcher HttpAttributesCelMatchInput IPMatcher",
    "xds.type.v3": "CelExpression TypedStruct",
}

_RENAMED: dict[str, str] = {
    "ClusterFilter": "envoy.config.cluster.v3.Filter",
    "CommonHttpProtocolOptions": "envoy.config.core.v3.HttpProtocolOptions",
    "CoreRetryPolicy": "envoy.config.core.v3.RetryPolicy",
    "ConfigHeaderMutation": "envoy.config.common.mutation_rules.v3.HeaderMutation",
    "RBACAction": "envoy.config.rbac.v3.Action",
    "RBACPolicy": "envoy.config.rbac.v3.Policy",
    "RBACRules": "envoy.config.rbac.v3.RBAC",
    "GrpcStats": "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    "StatsAccessLog": "envoy.extensions.access_loggers.stats.v3.Config",
    "HealthCheckFilter": "envoy.extensions.filters.http.health_check.v3.HealthCheck",
    "JwtPerRouteConfig": "envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig",
    "OnDemandPerRouteConfig": "envoy.extensions.filters.http.on_demand.v3.PerRouteConfig",
    "RateLimitFilter": "envoy.extensions.filters.http.ratelimit.v3.RateLimit",
    "RateLimitPerRoute": "envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute",
    "RateLimitServiceConfig": "envoy.config.ratelimit.v3.RateLimitServiceConfig",
    "NetworkLocalRateLimit": "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit",
    "NetworkRBAC": "envoy.extensions.filters.network.rbac.v3.RBAC",
    "TracingProvider": "envoy.config.trace.v3.Tracing",
    "ExtensionWithMatcher": "envoy.extensions.common.matching.v3.ExtensionWithMatcher",
    "ExtensionWithMatcherPerRoute": "envoy.extensions.common.matching.v3.ExtensionWithMatcherPerRoute",
    "HttpRequestHeaderMatchInput": "envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
    "SkipFilter": "envoy.extensions.filters.common.matcher.action.v3.SkipFilter",
    "XdsStringMatcher": "xds.type.matcher.v3.StringMatcher",
    "XdsTypedExtensionConfig": "xds.core.v3.TypedExtensionConfig",
}

MESSAGES: dict[str, str] = {
    name: f"{package}.{name}" for package, names in _BY_PACKAGE.items() for name in names.split()
} | _RENAMED
"""Short name to full name of every exposed message."""

ENUMS: dict[str, str] = {
    name: f"{package}.{name}"
    for package, names in {
        "envoy.config.core.v3": "ApiVersion HealthStatus RequestMethod RoutingPriority TrafficDirection",
        "envoy.config.rbac.v3": "MetadataSource",
        "envoy.extensions.common.ratelimit.v3": "VhRateLimitsOptions XRateLimitHeadersRFCVersion",
        "envoy.type.v3": "CodecClientType StatusCode",
    }.items()
    for name in names.split()
}
"""Short name to full name of every exposed enum that is not nested in a message."""
