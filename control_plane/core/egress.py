"""Calls to hosts outside that go through a gateway: the cluster of callers, and the listener of the gateway.

A caller's sidecar keeps all that concerns its calls (routes, retries, limits) and connects to the gateway in
place of the host, by mutual TLS, with the port of the ExternalService as SNI. The gateway has a filter chain
for each: it admits the callers that `from` names and opens the connection outside by the cluster that callers
have without a gateway. HTTP stays the version that the app speaks, on both ways, since the host outside may
know no other. Who may call is a resource of its own (ECDS): a change of `from` cuts no connection.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache

from meshwright.control_plane.api import header_limits
from meshwright.control_plane.api.resource_metadata import METADATA_KEY
from meshwright.control_plane.core import (
    access_log,
    clusters,
    external,
    external_clusters,
    http1,
    http2,
    secure_gateway,
    tcp,
    tls,
    unused_filters,
)
from meshwright.control_plane.core import http_connection_manager as http
from meshwright.control_plane.core.attachment import refs_of
from meshwright.control_plane.core.resource import CDS, ECDS, LDS, RDS, Resource, ads_source, encode
from meshwright.control_plane.core.views import (
    EgressClusterView,
    EgressView,
    GatewayView,
    ListenerSettings,
    UpstreamView,
)
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.authorization import envoy as authorization
from meshwright.control_plane.policies.retry import envoy as retry

LISTENER = "/egress"
"""Gateways name their other listeners after themselves, and no name begins with a slash."""

STAT_PREFIX = "egress"


# --- the caller's side --------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def cluster(view: EgressClusterView) -> Resource:
    """The cluster by which callers reach one port of an ExternalService at the gateway's instances.

    Limits and ejection are the caller's. The gateway probes and balances the host's addresses.
    """
    outside = view.outside
    message = v3.Cluster(
        name=view.name,
        type=v3.Cluster.EDS,
        eds_cluster_config=v3.Cluster.EdsClusterConfig(eds_config=ads_source()),
        connect_timeout=clusters.CONNECT_TIMEOUT,
        lb_policy=v3.Cluster.LEAST_REQUEST,
        common_lb_config=v3.Cluster.CommonLbConfig(
            healthy_panic_threshold=v3.Percent(value=0), update_merge_window=timedelta(0)
        ),
        circuit_breakers=v3.CircuitBreakers(thresholds=[clusters.unlimited_thresholds()]),
        ignore_health_on_host_removal=True,
    )
    if outside.port.is_http:
        options = codec.pack(_http_options(grpc=outside.port.protocol == "grpc"))
        message.typed_extension_protocol_options[clusters.HTTP_OPTIONS].CopyFrom(options)
    else:
        message.upstream_connection_options.tcp_keepalive.CopyFrom(tcp.KEEPALIVE)
    for policy in outside.policies:
        policy.hooks.patch_cluster(message)
    external_clusters.eject_by_time(message, outside)
    message.transport_socket.CopyFrom(tls.upstream_socket(view.identity, view.sni, ()))
    return encode(CDS, view.name, message, policies=(outside.ref, *refs_of(outside.policies)))


def _http_options(*, grpc: bool) -> v3.HttpProtocolOptions:
    options = v3.HttpProtocolOptions()
    if grpc:
        options.explicit_http_config.http2_protocol_options.CopyFrom(http2.between_sidecars())
    else:
        options.use_downstream_protocol_config.CopyFrom(external.as_the_caller())
        options.use_downstream_protocol_config.http2_protocol_options.CopyFrom(http2.between_sidecars())
    limits = options.common_http_protocol_options
    limits.max_headers_count.value = header_limits.MAX_HEADERS_INSIDE
    limits.max_response_headers_kb.value = header_limits.MAX_KIB_INSIDE
    return options


# --- the gateway's side -------------------------------------------------------------------------------


def listener(view: GatewayView, settings: ListenerSettings, address: str, port: int) -> Resource:
    """Where sidecars connect, one filter chain for each port of an ExternalService."""
    message = http.listener(LISTENER, address, port, [_chain(entry, settings) for entry in view.egress])
    message.listener_filters.append(secure_gateway.tls_inspector())
    if settings.request_log:
        message.access_log.append(access_log.egress_log())
    required = (
        *settings.required_clusters,
        *(entry.cluster for entry in view.egress if not entry.port.is_http),
    )
    refs = (*dict.fromkeys(entry.ref for entry in view.egress), *settings.refs)
    return encode(LDS, LISTENER, message, required_clusters=tuple(dict.fromkeys(required)), policies=refs)


def _chain(view: EgressView, settings: ListenerSettings) -> v3.FilterChain:
    source = v3.ExtensionConfigSource(
        config_source=ads_source(), type_urls=[codec.type_url(v3.NetworkRBAC())]
    )
    if view.port.is_http:
        entry = http.network_filter(_connection_manager(view, settings))
    else:
        upstream = UpstreamView(((view.cluster, 1),), (view.ref,))
        entry = tcp.network_filter(
            STAT_PREFIX, upstream, "ingress", request_log=settings.request_log, section=view.name
        )
    return v3.FilterChain(
        name=view.name,
        filter_chain_match=v3.FilterChainMatch(transport_protocol="tls", server_names=[view.sni]),
        filters=[v3.Filter(name=_callers_name(view), config_discovery=source), entry],
        transport_socket=tls.downstream_socket(secure_gateway.ALPN if view.port.is_http else ()),
    )


def _connection_manager(view: EgressView, settings: ListenerSettings) -> http.HCM:
    """Requests pass as the caller's sidecar sent them; its limits and timeouts are in force there."""
    manager = http.connection_manager("ingress", STAT_PREFIX, view.name, settings)
    manager.http_protocol_options.CopyFrom(http1.options(any_method=True))
    manager.http2_protocol_options.CopyFrom(http2.between_sidecars())
    manager.common_http_protocol_options.max_headers_count.value = header_limits.MAX_HEADERS_INSIDE
    manager.max_request_headers_kb.value = header_limits.MAX_KIB_INSIDE
    return manager


def routes(view: EgressView) -> Resource:
    """The route of all requests to one port.

    It refuses callers, too: those whose connections stand since before `from` left them out.
    """
    route = v3.Route(
        name=view.ref,
        match=v3.RouteMatch(prefix=""),
        route=v3.RouteAction(cluster=view.cluster, timeout=timedelta(0), idle_timeout=timedelta(0)),
    )
    route.metadata.filter_metadata[METADATA_KEY].update({"policies": [view.ref]})
    retry.set_default(route)
    if view.callers:
        refused = v3.RBACPerRoute(rbac=v3.RBAC(rules=_refused(view)))
        route.typed_per_filter_config[authorization.DENY].CopyFrom(codec.pack(refused))
    host = v3.VirtualHost(name=view.name, domains=["*"], routes=[route])
    unused_filters.disable(host, "ingress")
    message = v3.RouteConfiguration(name=view.name, virtual_hosts=[host])
    return encode(RDS, view.name, message, required_clusters=(view.cluster,), policies=(view.ref,))


def callers(view: EgressView) -> Resource:
    """The filter that refuses connections of all callers but those in `from`; without names there of none."""
    config = v3.NetworkRBAC(stat_prefix=STAT_PREFIX)
    if view.callers:
        config.rules.CopyFrom(_refused(view))
    name = _callers_name(view)
    message = v3.TypedExtensionConfig(name=name, typed_config=codec.pack(config))
    return encode(ECDS, name, message, policies=(view.ref,))


def _refused(view: EgressView) -> v3.RBACRules:
    """Every caller that `from` does not name."""
    named = v3.Principal()
    names = "|".join(view.callers)
    named.authenticated.principal_name.safe_regex.regex = rf"spiffe://[^/]+/(service|gateway)/({names})"
    others = v3.RBACPolicy(permissions=[v3.Permission(any=True)], principals=[v3.Principal(not_id=named)])
    return v3.RBACRules(action=v3.RBACRules.DENY, policies={view.ref: others})


def _callers_name(view: EgressView) -> str:
    return f"callers/{view.name}"
