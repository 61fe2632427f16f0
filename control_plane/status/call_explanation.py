"""`mesh explain`: a question about a request, and the configuration of the mesh that answers it. Pure.

What proxies do is in `explain`, which sees nothing but the resources that they are sent. Who is asked, which
policies those resources name and who wrote them is known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from meshwright.control_plane.api.models.authorization import AccessPolicy, AccessQuery
from meshwright.control_plane.api.models.call_explanation import CallExplanation, ExplainedHop
from meshwright.control_plane.api.models.proxies import ProxyStatus
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core import gateway
from meshwright.control_plane.core.route_match import RoutedRequest, host_for
from meshwright.control_plane.core.snapshot import Bindings, NodeSnapshot, Snapshot
from meshwright.control_plane.core.translate import Translation
from meshwright.control_plane.core.views import GatewayView, HostView, default_port
from meshwright.control_plane.errors import InputError, NotFoundError
from meshwright.control_plane.explain.call import Nodes, Start, hops
from meshwright.control_plane.explain.listener import DownstreamConnection
from meshwright.control_plane.explain.outcome import outcome
from meshwright.control_plane.status import gateway_access
from meshwright.control_plane.status.access import (
    caller_of,
    claims_of,
    loaded,
    policy_of,
    port_of,
    service_of,
    states_of,
)
from meshwright.control_plane.status.status import gateway_ports
from meshwright.control_plane.telemetry.requests.attribution import PolicyAttribution


def explanation(
    translation: Translation | None,
    query: AccessQuery,
    attribution: PolicyAttribution,
    sources: Mapping[str, str],
    proxies: Iterable[ProxyStatus],
    *,
    connected: Iterable[tuple[Identity, Bindings]] = (),
) -> CallExplanation:
    """The way of a request. `sources`: `file:line` by `Kind/name`; `connected`: the proxies that are.

    Raises NotFoundError for an unknown service, gateway or caller, InputError for a question without one, or
    about a port that carries no requests.
    """
    translation = loaded(translation)
    start, request = beginning(translation, query)

    @cache
    def blame(ref: str) -> AccessPolicy:
        return policy_of(ref, attribution, sources)

    all_proxies = tuple(proxies)
    passed = tuple(hops(nodes_of(translation.snapshot, all_proxies, connected), start, request, blame))
    verdict, summary = outcome(passed)
    return CallExplanation(
        summary=summary,
        verdict=verdict,
        revision=translation.snapshot.revision,
        hops=tuple(_with_proxies(hop, all_proxies) for hop in passed),
    )


def nodes_of(
    snapshot: Snapshot, proxies: Iterable[ProxyStatus], connected: Iterable[tuple[Identity, Bindings]] = ()
) -> Nodes:
    """What proxies are sent. Their own ports do not matter but those of gateways, which redirects name.

    Of what their application file says about clients and hosts outside, that of one proxy stands for all.
    """
    ports = gateway_ports(proxies)
    reported = dict(sorted(connected, key=repr))

    def node(identity: Identity) -> NodeSnapshot:
        listeners = ports.get(identity.name, {}) if identity.role == "gateway" else {}
        bound = tuple((name, item.port) for name, item in listeners.items())
        bindings = reported.get(identity, Bindings())
        return snapshot.node(
            identity,
            Bindings(outbound=1, inbound=1, gateway=bound, edge=bindings.edge, outside=bindings.outside),
        )

    return node


def beginning(translation: Translation, query: AccessQuery) -> tuple[Start, RoutedRequest]:
    """The first proxy, and the request as it comes there. Raises NotFoundError and InputError."""
    if query.gateway:
        query = gateway_access.with_host(query, translation.resolver.listeners(query.gateway))
        start = _at_gateway(translation, query)
    else:
        start = _at_caller(translation, query)
    return start, RoutedRequest(query.method, _host(translation, query), query.path, query.headers)


def _at_caller(translation: Translation, query: AccessQuery) -> Start:
    caller = caller_of(translation, query.caller)
    if caller is None or not (query.service or query.host):
        raise InputError("name the caller and the called service or host, or a gateway and a host")
    if caller.role == "gateway":
        raise InputError(f"{query.caller} is a gateway: what it calls depends on its routes: name a host too")
    return Start(caller, address=query.address, claims=claims_of(query) or None)


def _at_gateway(translation: Translation, query: AccessQuery) -> Start:
    if query.caller or query.service:
        raise InputError("name a gateway, whose routes say what is called, or a caller and a service")
    view = translation.views.gateways.get(query.gateway)
    if view is None:
        raise NotFoundError(f"{query.gateway}: the mesh has no such gateway")
    listener, tls = _listener(view, query)
    return Start(
        Identity(translation.world.trust_domain, "gateway", view.name),
        listener,
        DownstreamConnection(query.address, tls=tls, sni=query.host.partition(":")[0].lower() if tls else ""),
        address=query.address,
        claims=claims_of(query) or None,
    )


def _listener(view: GatewayView, query: AccessQuery) -> tuple[str, bool]:
    """The listener that is meant, or the first with a host for the request; whether it needs TLS."""
    entries: list[tuple[str, tuple[HostView, ...], str, bool]] = []
    for listener in view.listeners:
        name = gateway.listener_name(view.name, listener.name)
        secure = [item for item in listener.secure if item.takes_requests]
        entries += [(item.name, item.hosts, name, True) for item in secure]
        if not listener.tcp and not listener.secure:
            entries.append((listener.name, listener.hosts, name, False))
    named = [entry for entry in entries if query.port in ("", entry[0])]
    if not named:
        names = ", ".join(entry[0] for entry in entries) or "none"
        raise InputError(f"{view.name} has no HTTP listener {query.port!r}: they are {names}")
    serving = [entry for entry in named if host_for(entry[1], query.host)]
    _, _, name, tls = (serving or named)[0]
    return name, tls


def _host(translation: Translation, query: AccessQuery) -> str:
    """The Host header: the one that is asked about, else the service's, with a port that is not its first."""
    if query.gateway or query.host:
        return query.host
    service = service_of(translation, query.service)
    port = port_of(service, query.port)
    if port.protocol == "tcp":
        raise InputError(f"port {port.name} is for TCP: only a request can be explained")
    return service.name if port == default_port(service.ports) else f"{service.name}:{port.number}"


def _with_proxies(hop: ExplainedHop, proxies: Iterable[ProxyStatus]) -> ExplainedHop:
    role = "gateway" if hop.direction == "ingress" else "service"
    states = states_of(hop.proxy, role, proxies)
    return hop.model_copy(update={"proxies": len(states), "synced": states.count("synced")})
