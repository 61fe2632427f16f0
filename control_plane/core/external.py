"""Calls to hosts outside the mesh that no ExternalService declares: passed on by default, as `external`.

A virtual host `*` has their routes. Its routes match only once a mark is set, by a filter behind the one that
fetches hosts on demand: so a host is first looked for in the mesh. Hosts of the mesh have no such filter.

A sidecar is no way past the mesh: names of services and domains of the mesh never match. Addresses of its own
host's loopback are refused after names are resolved, since other sidecars and agents listen there.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from functools import lru_cache

from meshwright.control_plane.api import cluster_names, header_limits
from meshwright.control_plane.api.host_suffixes import DOMAINS, Domains, mesh_name_pattern
from meshwright.control_plane.core import connect_tunnel, http2
from meshwright.control_plane.core.reply_reasons import LOOPBACK_POLICY
from meshwright.control_plane.core.resource import CDS, Resource, encode
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.envoy.cidr import cidr_range
from meshwright.control_plane.policies.hooks import FilterEntry, FilterPhase

CLUSTER = cluster_names.EXTERNAL

CONNECT_TIMEOUT = timedelta(seconds=10)
"""Istio's default; hosts may be far away."""

DNS_FAILURE_RETRY, DNS_FAILURE_RETRY_MAX = timedelta(seconds=1), timedelta(seconds=10)
DNS_MAX_HOSTS, DNS_THREADS = 10_000, 4

DENIED_STATUS = 403

HOST, DENIED_ROUTE = "external", "external-denied"
"""The virtual host of all names that the mesh does not have, and its routes under `outbound: deny`."""

PROTECTED_NETWORKS = (
    "127.0.0.1/32",
    "127.10.0.0/16",
    "0.0.0.0/8",
    "::1/128",
    "::/128",
    "::ffff:127.0.0.1/128",
)
"""Where sidecars, agents and apps of this host listen; 127.10.0.0/16 are the upstreams (sidecar/ports.py)."""

_MARK_FILTER = "envoy.filters.http.set_filter_state"
_PROXY_FILTER = "envoy.filters.http.dynamic_forward_proxy"
_GUARD_FILTER = "external-addresses"
_MARK = "meshwright.external"

_SINGLE_LABEL = r"[^.:\[]*(?::.*)?"

_UNLIMITED = v3.UInt32Value(value=2**32 - 1)


def filters() -> Iterable[FilterEntry]:
    """The filters of outbound listeners: the mark, the resolver, the guard."""
    mark = v3.FilterStateValue(
        object_key=_MARK,
        factory_key="envoy.string",
        format_string=v3.SubstitutionFormatString(text_format_source=v3.DataSource(inline_string="yes")),
    )
    yield (
        FilterPhase.EXTERNAL,
        _MARK_FILTER,
        v3.SetFilterState(on_request_headers=[mark], clear_route_cache=True),
    )
    proxy = v3.DynamicForwardProxy(dns_cache_config=_dns_cache(), save_upstream_address=True)
    yield FilterPhase.ADDRESS, _PROXY_FILTER, proxy
    yield FilterPhase.ADDRESS, _GUARD_FILTER, v3.RBAC()


def disabled_filters() -> dict[str, v3.Any]:
    """`typed_per_filter_config` of virtual hosts in the mesh: they do without these filters."""
    disabled = codec.pack(v3.RouteFilterConfig(disabled=True))
    return dict.fromkeys((_MARK_FILTER, _PROXY_FILTER, _GUARD_FILTER), disabled)


def mark_disabled() -> dict[str, v3.Any]:
    """`typed_per_filter_config` of declared hosts that are resolved as they are called."""
    return {_MARK_FILTER: codec.pack(v3.RouteFilterConfig(disabled=True))}


def guarded() -> dict[str, v3.Any]:
    """`typed_per_filter_config` of routes to hosts that are resolved as they are called."""
    return {_GUARD_FILTER: codec.pack(_guard())}


@lru_cache(maxsize=2)
def virtual_host(domains: Domains = DOMAINS, *, allowed: bool) -> v3.VirtualHost:
    """The virtual host of all names that the mesh does not have."""
    host = v3.VirtualHost(name=HOST, domains=["*"])
    inside = mesh_name_pattern(domains)
    connect = v3.Route(name="external", match=_match(inside))
    connect.match.MergeFrom(connect_tunnel.connect_match())
    plain = v3.Route(name="external", match=_match(inside))
    plain.match.prefix = ""
    if allowed:
        connect.route.CopyFrom(connect_tunnel.terminating_action(CLUSTER))
        plain.route.CopyFrom(v3.RouteAction(cluster=CLUSTER, timeout=timedelta(0), idle_timeout=timedelta(0)))
        host.typed_per_filter_config[_GUARD_FILTER].CopyFrom(codec.pack(_guard()))
    else:
        for route in (connect, plain):
            route.name = DENIED_ROUTE
            route.match.headers.append(_authority(_SINGLE_LABEL))
            text = (
                "the mesh has no such service, and calls to hosts outside the mesh are denied "
                "(outbound: deny): declare the host by an ExternalService, set outbound: allow, or add it to "
                "NO_PROXY\n"
            )
            route.direct_response.status = DENIED_STATUS
            route.direct_response.body.inline_string = text
    host.routes.extend((connect, plain))
    return host


@lru_cache(maxsize=1)
def cluster() -> Resource:
    """The cluster of all hosts outside the mesh; each is resolved when it is called."""
    limits = v3.CircuitBreakers.Thresholds(
        max_connections=_UNLIMITED, max_pending_requests=_UNLIMITED, max_requests=_UNLIMITED
    )
    message = v3.Cluster(
        name=CLUSTER,
        connect_timeout=CONNECT_TIMEOUT,
        circuit_breakers=v3.CircuitBreakers(thresholds=[limits]),
    )
    set_resolved_per_call(message)
    options = v3.HttpProtocolOptions(use_downstream_protocol_config=as_the_caller())
    common = options.common_http_protocol_options
    common.max_headers_count.value = header_limits.MAX_HEADERS
    common.max_response_headers_kb.value = header_limits.MAX_KIB
    name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    message.typed_extension_protocol_options[name].CopyFrom(codec.pack(options))
    return encode(CDS, CLUSTER, message)


def set_resolved_per_call(message: v3.Cluster) -> None:
    """Make a cluster connect to the host of each request; the filter has resolved it."""
    # The options that are insecure without it concern TLS, which is between the app and the host.
    config = v3.DynamicForwardProxyCluster(dns_cache_config=_dns_cache(), allow_insecure_cluster_options=True)
    message.lb_policy = v3.Cluster.CLUSTER_PROVIDED
    message.cluster_type.name = "envoy.clusters.dynamic_forward_proxy"
    message.cluster_type.typed_config.CopyFrom(codec.pack(config))


def as_the_caller() -> v3.HttpProtocolOptions.UseDownstreamHttpConfig:
    """The caller's version of HTTP towards a host that the mesh does not trust."""
    return v3.HttpProtocolOptions.UseDownstreamHttpConfig(
        http_protocol_options=v3.Http1ProtocolOptions(enable_trailers=True),
        http2_protocol_options=http2.towards_clients(),
    )


def system_resolver(threads: int = 1) -> v3.TypedExtensionConfig:
    """Names as the system resolves them (hosts file, search domains), as the app itself would."""
    resolver = v3.GetAddrInfoDnsResolverConfig(num_resolver_threads=v3.UInt32Value(value=threads))
    return v3.TypedExtensionConfig(
        name="envoy.network.dns_resolver.getaddrinfo", typed_config=codec.pack(resolver)
    )


def _dns_cache() -> v3.DnsCacheConfig:
    """The addresses of hosts that are resolved as they are called: one cache in every proxy."""
    cache = v3.DnsCacheConfig(
        name="external",
        dns_lookup_family=v3.Cluster.ALL,
        max_hosts=v3.UInt32Value(value=DNS_MAX_HOSTS),
        typed_dns_resolver_config=system_resolver(DNS_THREADS),
    )
    cache.dns_failure_refresh_rate.base_interval.FromTimedelta(DNS_FAILURE_RETRY)
    cache.dns_failure_refresh_rate.max_interval.FromTimedelta(DNS_FAILURE_RETRY_MAX)
    return cache


def _guard() -> v3.RBACPerRoute:
    """Refuses the loopback addresses of the sidecar's host."""
    permissions = []
    for cidr in map(cidr_range, PROTECTED_NETWORKS):
        matcher = v3.TypedExtensionConfig(
            name="envoy.rbac.matchers.upstream_ip_port",
            typed_config=codec.pack(v3.UpstreamIpPortMatcher(upstream_ip=cidr)),
        )
        permissions.append(v3.Permission(matcher=matcher))
    policy = v3.RBACPolicy(permissions=permissions, principals=[v3.Principal(any=True)])
    rules = v3.RBACRules(action=v3.RBACRules.DENY, policies={LOOPBACK_POLICY: policy})
    return v3.RBACPerRoute(rbac=v3.RBAC(rules=rules))


def _match(except_authority: str) -> v3.RouteMatch:
    marked = v3.FilterStateMatcher(key=_MARK, string_match=v3.StringMatcher(exact="yes"))
    return v3.RouteMatch(filter_state=[marked], headers=[_authority(except_authority)])


def _authority(pattern: str) -> v3.HeaderMatcher:
    """Every host but those that the pattern matches."""
    text = v3.StringMatcher(safe_regex=v3.RegexMatcher(regex=pattern))
    return v3.HeaderMatcher(name=":authority", string_match=text, invert_match=True)
