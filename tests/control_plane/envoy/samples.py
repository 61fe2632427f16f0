"""One message of each main resource type, as the control plane would write it."""

from __future__ import annotations

import json
from datetime import timedelta

from google.protobuf.message import Message

from meshwright.control_plane.envoy import codec, v3

SPIFFE = "spiffe://mesh.local/orders"
JWKS = json.dumps(
    {
        "keys": [
            {
                "kty": "EC",
                "crv": "P-256",
                "alg": "ES256",
                "x": "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
                "y": "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
            }
        ]
    }
)
"""The generator of P-256 as a public key: valid and useless."""


def socket(port: int) -> v3.Address:
    return v3.Address(socket_address=v3.SocketAddress(address="127.0.0.1", port_value=port))


def extension(name: str, message: Message) -> v3.TypedExtensionConfig:
    return v3.TypedExtensionConfig(name=name, typed_config=codec.pack(message))


def ads() -> v3.ConfigSource:
    return v3.ConfigSource(ads=v3.AggregatedConfigSource(), resource_api_version=v3.ApiVersion.V3)


def secret(name: str) -> v3.SdsSecretConfig:
    path = v3.PathConfigSource(path="./identity.json")
    return v3.SdsSecretConfig(name=name, sds_config=v3.ConfigSource(path_config_source=path))


def common_tls() -> v3.CommonTlsContext:
    return v3.CommonTlsContext(
        alpn_protocols=["h2"],
        tls_params=v3.TlsParameters(
            tls_minimum_protocol_version=v3.TlsParameters.TLSv1_3,
            tls_maximum_protocol_version=v3.TlsParameters.TLSv1_3,
        ),
        tls_certificate_sds_secret_configs=[secret("identity")],
        combined_validation_context=v3.CommonTlsContext.CombinedCertificateValidationContext(
            default_validation_context=v3.CertificateValidationContext(
                match_typed_subject_alt_names=[
                    v3.SubjectAltNameMatcher(
                        san_type=v3.SubjectAltNameMatcher.URI, matcher=v3.StringMatcher(exact=SPIFFE)
                    )
                ]
            ),
            validation_context_sds_secret_config=secret("bundle"),
        ),
    )


def tls(name: str, context: Message) -> v3.TransportSocket:
    return v3.TransportSocket(name=name, typed_config=codec.pack(context))


def endpoints() -> v3.ClusterLoadAssignment:
    weights = {"127.0.0.1": 3, "127.0.0.2": 1}
    return v3.ClusterLoadAssignment(
        cluster_name="orders",
        endpoints=[
            v3.LocalityLbEndpoints(
                locality=v3.Locality(region="eu", zone="eu-1"),
                lb_endpoints=[
                    v3.LbEndpoint(
                        endpoint=v3.Endpoint(
                            address=v3.Address(
                                socket_address=v3.SocketAddress(address=address, port_value=15006)
                            )
                        ),
                        health_status=v3.HealthStatus.HEALTHY,
                        load_balancing_weight=v3.UInt32Value(value=weight),
                        metadata=v3.Metadata(
                            filter_metadata={"envoy.lb": codec.struct({"version": "v1", "canary": False})}
                        ),
                    )
                    for address, weight in weights.items()
                ],
            )
        ],
    )


def cluster() -> v3.Cluster:
    http = v3.HttpProtocolOptions(
        explicit_http_config=v3.HttpProtocolOptions.ExplicitHttpConfig(
            http2_protocol_options=v3.Http2ProtocolOptions(max_concurrent_streams=v3.UInt32Value(value=100))
        ),
        common_http_protocol_options=v3.CommonHttpProtocolOptions(idle_timeout=timedelta(minutes=5)),
    )
    limits = v3.CircuitBreakers.Thresholds(
        max_requests=v3.UInt32Value(value=128),
        retry_budget=v3.CircuitBreakers.Thresholds.RetryBudget(budget_percent=v3.Percent(value=20.5)),
        track_remaining=True,
    )
    return v3.Cluster(
        name="orders",
        type=v3.Cluster.EDS,
        eds_cluster_config=v3.Cluster.EdsClusterConfig(eds_config=ads()),
        connect_timeout=timedelta(milliseconds=250),
        load_balancing_policy=v3.LoadBalancingPolicy(
            policies=[
                v3.LoadBalancingPolicy.Policy(
                    typed_extension_config=extension(
                        "envoy.load_balancing_policies.least_request", v3.LeastRequest()
                    )
                )
            ]
        ),
        circuit_breakers=v3.CircuitBreakers(thresholds=[limits]),
        outlier_detection=v3.OutlierDetection(
            consecutive_5xx=v3.UInt32Value(value=5),
            base_ejection_time=timedelta(seconds=1),
            enforcing_success_rate=v3.UInt32Value(value=0),
        ),
        common_lb_config=v3.Cluster.CommonLbConfig(healthy_panic_threshold=v3.Percent(value=0)),
        transport_socket=tls(
            "envoy.transport_sockets.tls",
            v3.UpstreamTlsContext(sni="http.orders.mesh", common_tls_context=common_tls()),
        ),
        typed_extension_protocol_options={
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": codec.pack(http)
        },
    )


def route(prefix: str) -> v3.Route:
    hosts = v3.RetryPolicy.RetryHostPredicate(
        name="envoy.retry_host_predicates.previous_hosts",
        typed_config=codec.pack(v3.PreviousHostsPredicate()),
    )
    return v3.Route(
        name=f"orders{prefix}",
        match=v3.RouteMatch(
            prefix=prefix,
            headers=[v3.HeaderMatcher(name="x-canary", string_match=v3.StringMatcher(exact="1"))],
            query_parameters=[v3.QueryParameterMatcher(name="debug", present_match=True)],
        ),
        route=v3.RouteAction(
            weighted_clusters=v3.WeightedCluster(
                clusters=[
                    v3.WeightedCluster.ClusterWeight(name="orders", weight=v3.UInt32Value(value=90)),
                    v3.WeightedCluster.ClusterWeight(name="orders/v2", weight=v3.UInt32Value(value=10)),
                ]
            ),
            timeout=timedelta(seconds=2),
            retry_policy=v3.RetryPolicy(
                retry_on="connect-failure,retriable-status-codes",
                num_retries=v3.UInt32Value(value=2),
                retriable_status_codes=[502, 503],
                per_try_timeout=timedelta(milliseconds=500),
                retry_host_predicate=[hosts],
            ),
            hash_policy=[
                v3.RouteAction.HashPolicy(header=v3.RouteAction.HashPolicy.Header(header_name="x-user"))
            ],
        ),
        decorator=v3.Decorator(operation="orders"),
        request_headers_to_add=[
            v3.HeaderValueOption(
                header=v3.HeaderValue(key="x-mesh", value="1"),
                append_action=v3.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
            )
        ],
        typed_per_filter_config={"envoy.filters.http.rbac": codec.pack(v3.RBACPerRoute())},
    )


def virtual_host() -> v3.VirtualHost:
    return v3.VirtualHost(
        name="orders",
        domains=["orders", "orders:*"],
        routes=[
            route("/api"),
            v3.Route(
                match=v3.RouteMatch(safe_regex=v3.RegexMatcher(regex="/v[0-9]+/.*")),
                redirect=v3.RedirectAction(
                    host_redirect="shop", response_code=v3.RedirectAction.TEMPORARY_REDIRECT
                ),
            ),
            v3.Route(
                match=v3.RouteMatch(path_separated_prefix="/down"),
                direct_response=v3.DirectResponseAction(
                    status=503, body=v3.DataSource(inline_string="closed")
                ),
            ),
        ],
    )


def route_configuration() -> v3.RouteConfiguration:
    return v3.RouteConfiguration(name="in", virtual_hosts=[virtual_host()])


def rbac() -> v3.RBAC:
    principal = v3.Principal(
        authenticated=v3.Principal.Authenticated(principal_name=v3.StringMatcher(exact=SPIFFE))
    )
    return v3.RBAC(
        rules=v3.RBACRules(
            action=v3.RBACRules.ALLOW,
            policies={
                "readers": v3.RBACPolicy(permissions=[v3.Permission(any=True)], principals=[principal]),
                "all": v3.RBACPolicy(
                    permissions=[v3.Permission(destination_port=8080)], principals=[v3.Principal(any=True)]
                ),
            },
        )
    )


def http_filters() -> list[v3.HttpFilter]:
    fraction = v3.FractionalPercent(numerator=1, denominator=v3.FractionalPercent.HUNDRED)
    filters: dict[str, Message] = {
        "envoy.filters.http.health_check": v3.HealthCheckFilter(pass_through_mode=v3.BoolValue(value=True)),
        "envoy.filters.http.jwt_authn": v3.JwtAuthentication(
            providers={
                "shop": v3.JwtProvider(issuer="https://shop", local_jwks=v3.DataSource(inline_string=JWKS))
            },
            rules=[v3.RequirementRule(match=v3.RouteMatch(prefix="/"))],
        ),
        "envoy.filters.http.rbac": rbac(),
        "envoy.filters.http.fault": v3.HTTPFault(abort=v3.FaultAbort(http_status=503, percentage=fraction)),
        "envoy.filters.http.local_ratelimit": v3.LocalRateLimit(
            stat_prefix="limit",
            token_bucket=v3.TokenBucket(max_tokens=10, fill_interval=timedelta(seconds=1)),
        ),
        "envoy.filters.http.header_mutation": v3.HeaderMutation(),
        "envoy.filters.http.grpc_stats": v3.GrpcStats(stats_for_all_methods=v3.BoolValue(value=False)),
        "envoy.filters.http.router": v3.Router(),
    }
    return [v3.HttpFilter(name=name, typed_config=codec.pack(message)) for name, message in filters.items()]


def connection_manager() -> v3.HttpConnectionManager:
    log = v3.StdoutAccessLog(
        log_format=v3.SubstitutionFormatString(json_format={"code": "%RESPONSE_CODE%", "n": [1, None, True]})
    )
    return v3.HttpConnectionManager(
        stat_prefix="inbound",
        route_config=route_configuration(),
        http_filters=http_filters(),
        forward_client_cert_details=v3.HttpConnectionManager.SANITIZE_SET,
        set_current_client_cert_details=v3.HttpConnectionManager.SetCurrentClientCertDetails(uri=True),
        normalize_path=v3.BoolValue(value=True),
        path_with_escaped_slashes_action=v3.HttpConnectionManager.REJECT_REQUEST,
        access_log=[v3.AccessLog(name="envoy.access_loggers.stdout", typed_config=codec.pack(log))],
    )


def listener() -> v3.Listener:
    manager = v3.Filter(
        name="envoy.filters.network.http_connection_manager", typed_config=codec.pack(connection_manager())
    )
    proxy = v3.Filter(
        name="envoy.filters.network.tcp_proxy",
        typed_config=codec.pack(v3.TcpProxy(stat_prefix="tcp", cluster="orders")),
    )
    downstream = v3.DownstreamTlsContext(
        common_tls_context=common_tls(), require_client_certificate=v3.BoolValue(value=True)
    )
    return v3.Listener(
        name="inbound",
        address=socket(15006),
        listener_filters=[
            v3.ListenerFilter(
                name="envoy.filters.listener.tls_inspector", typed_config=codec.pack(v3.TlsInspector())
            )
        ],
        filter_chains=[
            v3.FilterChain(
                filter_chain_match=v3.FilterChainMatch(server_names=["http.orders.mesh"]),
                filters=[manager],
                transport_socket=tls("envoy.transport_sockets.tls", downstream),
            ),
            v3.FilterChain(
                filter_chain_match=v3.FilterChainMatch(transport_protocol="raw_buffer"), filters=[proxy]
            ),
        ],
    )


def bundle(pem: str) -> v3.Secret:
    domain = v3.SPIFFECertValidatorConfig.TrustDomain(
        name="mesh.local", trust_bundle=v3.DataSource(inline_string=pem)
    )
    validator = extension(
        "envoy.tls.cert_validator.spiffe", v3.SPIFFECertValidatorConfig(trust_domains=[domain])
    )
    return v3.Secret(
        name="bundle",
        validation_context=v3.CertificateValidationContext(custom_validator_config=validator),
    )


def all_samples() -> list[Message]:
    return [cluster(), endpoints(), listener(), route_configuration(), virtual_host(), bundle("PEM")]
