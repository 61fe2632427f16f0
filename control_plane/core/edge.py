"""The trust of a gateway in its clients: which headers it believes, by who connects.

Envoy's trust is a setting of a connection manager, so `trustedProxies` as networks makes two filter chains:
one for the proxies and one for everybody else. A third one, for the gateway's own host, continues traces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from meshwright.control_plane.core import http1, trace_context
from meshwright.control_plane.core import http_connection_manager as http
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.envoy.cidr import cidr_range
from meshwright.control_plane.policies.gateway.edge import EdgeSettings

CONNECTION_IDLE_TIMEOUT = timedelta(hours=1)
"""Closes connections without requests (Envoy's "configuring Envoy as an edge proxy")."""

LOOPBACK_NETWORKS = ("127.0.0.0/8", "::1/128")

_CLIENT_HEADERS = (
    r"forwarded|x-forwarded-.*|forwarded-for|x-forwarded|x-original-(forwarded-for|host|url)|x-rewrite-url"
    r"|x-real-ip|(x-)?true-client-ip|(x-|http-)?client-ip|x-cluster-client-ip|x-remote-(ip|addr)"
    r"|x-originating-ip|cf-(connecting-ip(v6)?|pseudo-ipv4|visitor)|fastly-client-ip|fly-client-ip"
    r"|do-connecting-ip|x-azure-(clientip|socketip)|x-appengine-user-ip|x-vercel-forwarded-for"
    r"|x-nf-client-connection-ip|x-proxyuser-ip|(wl-)?proxy-client-ip|x-(url-)?scheme|x-host"
    r"|front-end-https|x-request-id"
    r"|client-cert(-chain)?|(x-)?ssl-client-.*|x-client-cert|x-arr-clientcert"
)
"""Headers by which middleware learns the client's address, scheme, host, port, path and certificate.

`client-cert` is RFC 9440's, which demands the removal; `client-ip` is what much PHP code reads first.
"""

_MESH_HEADERS = r"x-envoy-.*|x-meshwright-.*"
"""Headers that only proxies of the mesh may set."""

_TRACE_HEADERS = (
    r"traceparent|tracestate|baggage|b3|x-b3-.*|uber-trace-id|uberctx-.*|x-cloud-trace-context"
    r"|x-amzn-trace-id|x-datadog-.*|sentry-trace|grpc-trace-bin|x-ot-span-context|ot-tracer-.*"
    r"|elastic-apm-traceparent|newrelic"
)
"""Trace contexts: W3C, B3, Jaeger, and those of vendors."""


@dataclass(frozen=True, slots=True)
class Clients:
    """The clients of one filter chain: those whose connection comes from `networks`; empty for all others.

    `trusted`: what they say about the real client is believed. `traced`: their trace context continues.
    """

    name: str
    networks: tuple[str, ...] = ()
    trusted: bool = False
    traced: bool = False


def clients(settings: EdgeSettings) -> Iterator[Clients]:
    """The filter chains of a listener, the general one last."""
    proxies, context = settings.trusted_proxies, settings.trace_context
    if isinstance(proxies, int) and proxies:
        yield Clients("proxies", (), trusted=True, traced=context != "Restart")
        return
    networks = () if isinstance(proxies, int) else proxies
    if networks:
        yield Clients("proxies", networks, trusted=True, traced=context != "Restart")
    # Envoy rejects a network that two chains name.
    local = tuple(network for network in LOOPBACK_NETWORKS if network not in networks)
    if context == "Local" and local:
        yield Clients("local", local, traced=True)
    yield Clients("clients", (), traced=context == "Continue")


def chain(manager: http.HCM, group: Clients) -> v3.FilterChain:
    """The filter chain of one group of clients."""
    message = v3.FilterChain(name=group.name, filters=[http.network_filter(manager)])
    message.filter_chain_match.direct_source_prefix_ranges.extend(map(cidr_range, group.networks))
    return message


def apply(manager: http.HCM, group: Clients, settings: EdgeSettings, port: int) -> None:
    """Set trust and limits of a connection manager; `port` is the one that clients use."""
    common = manager.common_http_protocol_options
    common.idle_timeout.FromTimedelta(CONNECTION_IDLE_TIMEOUT)
    if settings.underscore_headers == "Reject":
        common.headers_with_underscores_action = v3.CommonHttpProtocolOptions.REJECT_REQUEST
    manager.http_protocol_options.CopyFrom(http1.options(any_method=settings.methods == "Any"))
    manager.http_protocol_options.default_host_for_http_10 = manager.stat_prefix
    manager.request_timeout.FromTimedelta(settings.request_timeout)
    manager.stream_idle_timeout.FromTimedelta(settings.idle_timeout)
    if settings.paths == "Normalize":
        manager.normalize_path.value = True
        manager.merge_slashes = True
        manager.path_with_escaped_slashes_action = http.HCM.REJECT_REQUEST
    _set_trust(manager, group, settings)
    # Envoy would append its own address in place of a loopback one.
    manager.skip_xff_append = not group.trusted
    mutations = trace_context.early_mutations(_early_mutations(group, port))
    manager.early_header_mutation_extensions.append(mutations)


def _set_trust(manager: http.HCM, group: Clients, settings: EdgeSettings) -> None:
    """How Envoy learns the client's address."""
    manager.preserve_external_request_id = group.trusted
    proxies = settings.trusted_proxies
    if not group.trusted or isinstance(proxies, int):
        manager.use_remote_address.value = True
        manager.xff_num_trusted_hops = proxies if isinstance(proxies, int) else 0
        return
    cidrs = v3.XffTrustedCidrs(cidrs=map(cidr_range, proxies))
    config = v3.XffConfig(xff_trusted_cidrs=cidrs, skip_xff_append=v3.BoolValue(value=False))
    manager.use_remote_address.value = False
    manager.original_ip_detection_extensions.add(
        name="envoy.http.original_ip_detection.xff", typed_config=codec.pack(config)
    )


def _early_mutations(group: Clients, port: int) -> Iterator[v3.ConfigHeaderMutation]:
    """Drop what the group is not believed, then state host and port. Envoy adds address and scheme later."""
    dropped = [_MESH_HEADERS]
    dropped += [] if group.trusted else [_CLIENT_HEADERS]
    dropped += [] if group.traced else [_TRACE_HEADERS]
    # CGI and WSGI take an underscore for a hyphen.
    regex = "|".join(dropped).replace("-", "[-_]")
    matcher = v3.StringMatcher(safe_regex=v3.RegexMatcher(regex=regex))
    yield v3.ConfigHeaderMutation(remove_on_match=v3.ConfigHeaderMutation.RemoveOnMatch(key_matcher=matcher))
    if group.traced:
        yield from trace_context.keep_valid_parent()
    yield trace_context.add_if_absent("x-forwarded-host", "%REQ(:AUTHORITY)%")
    if not group.trusted:
        yield trace_context.add_if_absent(
            "x-forwarded-for", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"
        )
        yield trace_context.add_if_absent("x-forwarded-port", str(port))


def client_address() -> v3.HeaderValueOption:
    """`x-real-ip`, for a route configuration: there Envoy knows the client's address."""
    return _option("x-real-ip", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")


def _option(name: str, value: str) -> v3.HeaderValueOption:
    return v3.HeaderValueOption(
        header=v3.HeaderValue(key=name, value=value), append_action=v3.HeaderValueOption.ADD_IF_ABSENT
    )
