"""What a caller's sidecar needs to call services: its outbound listeners, and virtual hosts on demand.

Virtual hosts and clusters are built per destination and shared by all callers; endpoints travel separately.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache

from meshwright.control_plane.api import probes
from meshwright.control_plane.api.host_suffixes import DOMAINS, Domains
from meshwright.control_plane.core import (
    ambiguous_path,
    caller_check,
    clusters,
    connect_tunnel,
    external,
    local_replies,
    routes,
    tcp,
    trace_context,
    unused_filters,
)
from meshwright.control_plane.core import http_connection_manager as http
from meshwright.control_plane.core.external_hosts import NO_HOSTS, OutsideHosts
from meshwright.control_plane.core.resource import LDS, RDS, VHDS, Resource, ads_source, encode
from meshwright.control_plane.core.views import DestinationView, HostView, ListenerSettings, TunnelView
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.httproute import mirrored
from meshwright.control_plane.policies.retry import app_failure
from meshwright.control_plane.policies.retry import envoy as retry
from meshwright.control_plane.policies.tcproute import envoy as tcproute

LISTENER = "outbound"
ROUTES = "out"

NO_SUCH_PORT_STATUS = 404

VHDS_FETCH_TIMEOUT = timedelta(milliseconds=50)
"""An empty VHDS response does not end Envoy's initial fetch, which lasts 15 s by default."""

HOST_TIMEOUT = timedelta(seconds=5)
"""How long the first request to a host waits for the control plane to say where it is."""


def listener(address: str, port: int, settings: ListenerSettings, secret_hash: str = "") -> Resource:
    """The HTTP proxy for a service's outbound calls; hosts and clusters come on demand.

    `secret_hash`: the hash of the credential that callers need; empty: none.
    """
    manager = _connection_manager(LISTENER, settings)
    if secret_hash:
        caller_check.require_credential(manager, secret_hash)
    manager.upgrade_configs.append(http.HCM.UpgradeConfig(upgrade_type=connect_tunnel.CONNECT))
    chain = v3.FilterChain(filters=[http.network_filter(manager)])
    message = http.listener(LISTENER, address, port, [chain])
    return encode(
        LDS, LISTENER, message, required_clusters=settings.required_clusters, policies=settings.refs
    )


def tunnel_listener(settings: ListenerSettings) -> Resource:
    """The internal listener where CONNECT tunnels end: the same routes for the calls inside them."""
    name = connect_tunnel.LISTENER
    manager = _connection_manager(f"{LISTENER}_{name}", settings)
    message = v3.Listener(
        name=name,
        internal_listener=v3.Listener.InternalListenerConfig(),
        filter_chains=[v3.FilterChain(filters=[http.network_filter(manager)])],
        per_connection_buffer_limit_bytes=v3.UInt32Value(value=http.BUFFER_LIMIT),
    )
    return encode(LDS, name, message, required_clusters=settings.required_clusters, policies=settings.refs)


def _connection_manager(stat_prefix: str, settings: ListenerSettings) -> http.HCM:
    manager = http.connection_manager("outbound", stat_prefix, ROUTES, settings)
    # Envoy waits for a host without a limit of its own. Once there is a route, its idle timeout replaces this
    # one, and every route has one (routes.py).
    manager.stream_idle_timeout.FromTimedelta(HOST_TIMEOUT)
    parent = trace_context.keep_valid_parent()
    manager.early_header_mutation_extensions.append(trace_context.early_mutations(parent))
    manager.strip_trailing_host_dot = True  # `orders.` is the service too, not a host outside the mesh
    return manager


@lru_cache(maxsize=256)
def route_configuration(
    *, external_allowed: bool = True, outside: OutsideHosts = NO_HOSTS, domains: Domains = DOMAINS
) -> Resource:
    """The route configuration to which on-demand virtual hosts are added; it has hosts outside the mesh."""
    others = v3.VirtualHost()
    others.CopyFrom(external.virtual_host(domains, allowed=external_allowed))
    for index, route in enumerate(outside.routes):
        others.routes.insert(index, v3.Route.FromString(route))
    declared = [v3.VirtualHost.FromString(host) for host in outside.virtual_hosts]
    source = ads_source()
    source.initial_fetch_timeout.FromTimedelta(VHDS_FETCH_TIMEOUT)
    message = v3.RouteConfiguration(
        name=ROUTES,
        vhds=v3.Vhds(config_source=source),
        most_specific_header_mutations_wins=routes.MOST_SPECIFIC_HEADERS_WIN,
        response_headers_to_remove=[app_failure.HEADER],
        # An app that could mark its requests as copies would choose the address that they come from.
        request_headers_to_remove=[caller_check.HEADER, probes.HEADER, *mirrored.HEADERS],
        virtual_hosts=[*declared, others],
    )
    return encode(RDS, ROUTES, message, required_clusters=outside.clusters, policies=outside.policies)


def virtual_host(view: HostView) -> Resource:
    """One on-demand virtual host; its aliases are all names that callers may use."""
    name = f"{ROUTES}/{view.name}"
    built = routes.build_routes(view)
    # Routes by path never match CONNECT, which has none.
    refused = view.https_refused_for
    connect = connect_tunnel.refusal(refused) if refused else connect_tunnel.tunnel()
    if any(rule.grpc for rule in view.rules):
        by_protocol = caller_check.grpc_exemption()
    else:
        by_protocol = {**caller_check.without_exemption(), **http.without_grpc_statistics()}
    message = v3.VirtualHost(
        name=name,
        domains=view.domains,
        routes=[*ambiguous_path.refusal(view), *built.routes, connect],
        typed_per_filter_config={**external.disabled_filters(), **by_protocol},
    )
    unused_filters.disable(message, "outbound")
    local_replies.mark(message, view.name)
    return encode(
        VHDS,
        name,
        message,
        aliases=tuple(f"{ROUTES}/{domain}" for domain in view.domains),
        required_clusters=built.clusters,
        policies=built.policies,
    )


@lru_cache(maxsize=1024)
def refused_host(name: str, service: str) -> Resource:
    """VHDS's reply for a port that `service` does not have: no way around the service's sidecar.

    Without a version it counts as a host that does not exist, so it is not remembered.
    """
    host = name.removeprefix(f"{ROUTES}/")
    text = f"service {service} of the mesh has no HTTP port at {host}\n"
    route = v3.Route(name="no-such-port", match=v3.RouteMatch(prefix=""))
    connect = v3.Route(name="no-such-port", match=connect_tunnel.connect_match())
    for entry in (route, connect):
        entry.direct_response.status = NO_SUCH_PORT_STATUS
        entry.direct_response.body.inline_string = text
    message = v3.VirtualHost(
        name=name,
        domains=[host],
        routes=[route, connect],
        typed_per_filter_config=external.disabled_filters(),
    )
    return encode(VHDS, name, message, aliases=(name,), versioned=False)


def tunnel_host(service: str, view: TunnelView) -> Resource:
    """The on-demand virtual host of a tcp port: CONNECT leads to it, a plain request is refused.

    Nothing was sent before a connection stands, so a failed one is tried at another instance.
    """
    name = f"{ROUTES}/{view.domains[0]}"
    action = connect_tunnel.terminating_action("")
    tcproute.set_tunnel_backends(action, tcp.backends_of(view.upstream))
    route = v3.Route(name=connect_tunnel.CONNECT.lower(), match=connect_tunnel.connect_match(), route=action)
    retry.set_default(route, retry.DEFAULT)
    text = f"{view.domains[0]} is a TCP port: connect by CONNECT or an upstream; this is an HTTP request\n"
    refusal = v3.Route(name="no-such-port", match=v3.RouteMatch(prefix=""))
    refusal.direct_response.status = NO_SUCH_PORT_STATUS
    refusal.direct_response.body.inline_string = text
    message = v3.VirtualHost(
        name=name,
        domains=view.domains,
        routes=[route, refusal],
        typed_per_filter_config=external.disabled_filters(),
    )
    local_replies.mark(message, service)
    return encode(
        VHDS,
        name,
        message,
        aliases=tuple(f"{ROUTES}/{domain}" for domain in view.domains),
        required_clusters=tcp.clusters_of(view.upstream),
        policies=view.upstream.policies,
    )


def destination(view: DestinationView) -> tuple[Resource, ...]:
    """All resources of one destination, clusters first."""
    tunnels = (tunnel_host(view.service, tunnel) for tunnel in view.tunnels)
    return (*map(clusters.cluster, view.clusters), *map(virtual_host, view.hosts), *tunnels)
