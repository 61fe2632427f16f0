"""ExternalView → virtual hosts of the outbound route configuration.

They are part of it, not fetched on demand: the most specific host of all wins, also over a wildcard that the
proxy has already, and `outbound: deny` needs no answer of the control plane. Their clusters come on demand:
a proxy resolves only what its app calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_network

from meshwright.control_plane.api.resource_metadata import METADATA_KEY
from meshwright.control_plane.core import connect_tunnel, external, local_replies, routes
from meshwright.control_plane.core.attachment import EffectivePolicy, hooks_of, refs_of
from meshwright.control_plane.core.views import ExternalHostView, ExternalView, UpstreamView
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.retry import envoy as retry

OPAQUE_PORT_STATUS = 400


@dataclass(frozen=True, slots=True)
class OutsideHosts:
    """What one caller may call outside, encoded.

    `routes` belong to the virtual host of all other names: those of networks. `clusters` must be pushed
    first. `upstreams`: tcp ports by the name under which callers declare them.
    """

    virtual_hosts: tuple[bytes, ...] = ()
    routes: tuple[bytes, ...] = ()
    clusters: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    upstreams: tuple[tuple[str, UpstreamView], ...] = ()


NO_HOSTS = OutsideHosts()


@lru_cache(maxsize=4096)
def build(view: ExternalView) -> OutsideHosts:
    """The hosts of one ExternalService."""
    built = [_host(host) for host in view.hosts]
    return OutsideHosts(
        tuple(codec.encode(host) for host, _, _ in built if host.domains),
        tuple(
            codec.encode(route)
            for (message, _, _), host in zip(built, view.hosts, strict=True)
            for route in _network_routes(message, host)
        ),
        tuple(name for _, clusters, _ in built for name in clusters),
        tuple(dict.fromkeys((view.ref, *(ref for _, _, refs in built for ref in refs)))),
        view.upstreams,
    )


def joined(parts: Iterable[OutsideHosts]) -> OutsideHosts:
    """The hosts of several ExternalServices."""
    parts = tuple(parts)
    return OutsideHosts(
        tuple(host for part in parts for host in part.virtual_hosts),
        tuple(route for part in parts for route in part.routes),
        tuple(dict.fromkeys(name for part in parts for name in part.clusters)),
        tuple(dict.fromkeys(ref for part in parts for ref in part.policies)),
        tuple(entry for part in parts for entry in part.upstreams),
    )


def _host(view: ExternalHostView) -> tuple[v3.VirtualHost, tuple[str, ...], tuple[str, ...]]:
    """The virtual host of one port, the clusters that its policies need, and the policies."""
    message = v3.VirtualHost(name=view.host.name, domains=view.host.domains)
    clusters: tuple[str, ...] = ()
    refs: tuple[str, ...] = ()
    if view.port.is_http:
        # Such a route leaves the mesh, as those of gateways enter it: there is no other sidecar to ask.
        built = routes.build_routes(view.host, gateway=True)
        message.routes.extend((*built.routes, connect_tunnel.tunnel()))
        _wait_for_gateway(view, message.routes)
        clusters = tuple(name for name in built.clusters if name != view.cluster)
        refs = built.policies
    else:
        message.routes.extend((*_tunnels(view), _refusal(view)))
        refs = refs_of(_policies(view))
    filters = external.mark_disabled() | external.guarded() if view.guarded else external.disabled_filters()
    for name, config in filters.items():
        message.typed_per_filter_config[name].CopyFrom(config)
    local_replies.mark(message, view.cluster)
    return message, clusters, refs


def _wait_for_gateway(view: ExternalHostView, built: Iterable[v3.Route]) -> None:
    """Let requests wait for a gateway that does not have the host yet, unless a Retry decides."""
    if view.via and not any(isinstance(hooks, retry.RetryHooks) for hooks in hooks_of(_policies(view))):
        for route in built:
            route.route.ClearField("retry_policy")
            retry.set_default(route, retry.PATIENT)


def _policies(view: ExternalHostView) -> tuple[EffectivePolicy, ...]:
    return tuple(policy for rule in view.host.rules for policy in rule.policies)


def _tunnels(view: ExternalHostView) -> list[v3.Route]:
    """CONNECT to a port whose bytes the mesh does not read. Nothing was sent before a connection stands.

    Only what concerns a gateway's routes concerns tunnels: whether there may be one.
    """
    route = v3.Route(
        name=view.ref,
        match=connect_tunnel.connect_match(),
        route=connect_tunnel.terminating_action(view.cluster),
    )
    route.metadata.filter_metadata[METADATA_KEY].update({"policies": [view.ref]})
    retry.set_default(route, retry.PATIENT if view.via else retry.DEFAULT)
    built = [route]
    for hooks in hooks_of(_policies(view)):
        built = [split for patched in built for split in hooks.patch_gateway_route(patched)]
    return built


def _refusal(view: ExternalHostView) -> v3.Route:
    """The response to a plain request at such a port."""
    scheme = "https" if view.port.protocol in ("https", "tls") else view.port.protocol
    text = (
        f"port {view.port.port} of this host is declared as {view.port.protocol} by {view.ref}, and this is "
        f"a plain HTTP request: call {scheme}:// by CONNECT (HTTPS_PROXY)\n"
    )
    response = v3.DirectResponseAction(status=OPAQUE_PORT_STATUS, body=v3.DataSource(inline_string=text))
    return v3.Route(name="external-opaque", match=v3.RouteMatch(prefix=""), direct_response=response)


def _network_routes(host: v3.VirtualHost, view: ExternalHostView) -> Iterator[v3.Route]:
    """The host's routes for every address of its networks, with this port."""
    if not view.networks:
        return
    addresses = "|".join(map(_address_pattern, view.networks))
    port = f"(?::{view.port.port})?" if view.host.port == 0 else f":{view.port.port}"
    pattern = v3.StringMatcher(safe_regex=v3.RegexMatcher(regex=f"(?:{addresses}){port}"))
    for route in host.routes:
        entry = v3.Route()
        entry.CopyFrom(route)
        entry.match.headers.append(v3.HeaderMatcher(name=":authority", string_match=pattern))
        for name, config in external.guarded().items():
            entry.typed_per_filter_config[name].CopyFrom(config)
        yield entry


def _address_pattern(network: str) -> str:
    """A regular expression for the addresses of a network of IPv4, in decimal without leading zeros."""
    first, last = ip_network(network)[0].packed, ip_network(network)[-1].packed
    return r"\.".join(
        str(low) if low == high else "[0-9]{1,3}" if (low, high) == (0, 255) else f"(?:{_numbers(low, high)})"
        for low, high in zip(first, last, strict=True)
    )


def _numbers(low: int, high: int) -> str:
    return "|".join(map(str, range(low, high + 1)))
