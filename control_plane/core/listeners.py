"""What a gateway listens on, and which routes each listener accepts (Gateway API v1).

A gateway without a Gateway document has one listener, `http`, at the port that its node binds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from meshwright.control_plane.core.hostnames import intersect_hostnames, most_specific
from meshwright.control_plane.policies.gateway.spec import (
    SERVED_PROTOCOLS,
    TLS_PROTOCOLS,
    Gateway,
    Listener,
)
from meshwright.control_plane.policies.grpcroute.spec import GRPCRoute
from meshwright.control_plane.policies.httproute.parents import ParentReference, RoutePolicy
from meshwright.control_plane.policies.httproute.spec import HTTPRoute
from meshwright.control_plane.policies.own_namespace import DEFAULT_NAMESPACE
from meshwright.control_plane.policies.tlsroute.spec import TLSRoute

GROUP = "gateway.networking.k8s.io"

_REQUESTS = ("HTTPRoute", "GRPCRoute")
_KINDS: Mapping[str, tuple[str, ...]] = {
    "HTTP": _REQUESTS,
    "HTTPS": _REQUESTS,
    "TLS": ("TLSRoute", "TCPRoute"),
    "TCP": ("TCPRoute",),
}

ListenerPorts = Mapping[str, int]
"""Where a gateway's node binds its listeners, by name."""


@dataclass(frozen=True, slots=True)
class Attached:
    """A parent that accepts a route: the listeners, each with the hosts under which it serves the route.

    `failure` is a reason of the Gateway API why no listener does, `field` the field of the parentRef (or
    `hostnames`) that is the cause, `message` says what to do about it.
    """

    listeners: tuple[tuple[Listener, tuple[str, ...]], ...] = ()
    failure: str = ""
    field: str = ""
    message: str = ""


def listeners_of(gateway: Gateway | None, bound: ListenerPorts | None = None) -> tuple[Listener, ...]:
    """The listeners of a gateway. `bound`: the ports of its node, if known; used if there is no document."""
    if gateway is not None:
        return gateway.spec.listeners
    return (implied_listener((bound or {}).get("http", 0)),)


def implied_listener(port: int) -> Listener:
    """The listener of a gateway that no document describes; port 0 stands for one that is not known."""
    return Listener.model_construct(name="http", port=port, protocol="HTTP")


def supported_kinds(listener: Listener) -> tuple[str, ...]:
    """The kinds of routes that the listener accepts."""
    possible = ("TLSRoute",) if listener.passes_through else _KINDS.get(listener.protocol, ())
    allowed = [entry.kind for entry in listener.allowed_routes.kinds if entry.group == GROUP]
    return tuple(kind for kind in possible if kind in allowed or not listener.allowed_routes.kinds)


def unsupported_kinds(listener: Listener) -> tuple[str, ...]:
    """The kinds in allowedRoutes that no listener of this protocol can accept."""
    supported = supported_kinds(listener)
    return tuple(
        entry.kind if entry.group == GROUP else f"{entry.kind} of group {entry.group!r}"
        for entry in listener.allowed_routes.kinds
        if entry.group != GROUP or entry.kind not in supported
    )


@dataclass(frozen=True, slots=True)
class Conflict:
    """Why a listener cannot share its port with others: a reason of the Gateway API, and their names."""

    reason: str
    names: tuple[str, ...]


def port_conflict(listener: Listener, listeners: Iterable[Listener]) -> Conflict | None:
    """The conflict of a listener with others of its port; None if there is none.

    Listeners of HTTP share a port by the host of each request, those of HTTPS and TLS by that of each
    connection.
    """
    others = [
        other
        for other in listeners
        if other is not listener
        and other.port == listener.port
        and {other.protocol, listener.protocol} <= set(SERVED_PROTOCOLS)
    ]
    if rivals := tuple(other.name for other in others if not _share_port(listener, other)):
        return Conflict("ProtocolConflict", rivals)
    same = tuple(other.name for other in others if other.hostname == listener.hostname)
    return Conflict("HostnameConflict", same) if same else None


def _share_port(listener: Listener, other: Listener) -> bool:
    protocols = {listener.protocol, other.protocol}
    return protocols == {"HTTP"} or protocols <= set(TLS_PROTOCOLS)


def served(listeners: tuple[Listener, ...]) -> tuple[Listener, ...]:
    """The listeners that Envoy opens."""
    return tuple(
        listener
        for listener in listeners
        if listener.protocol in SERVED_PROTOCOLS and port_conflict(listener, listeners) is None
    )


def attach(route: RoutePolicy, parent: ParentReference, listeners: tuple[Listener, ...]) -> Attached:
    """The listeners of a Gateway to which a route attaches by one parentRef."""
    selected = [item for item in listeners if parent.section_name in ("", item.name)]
    if not selected:
        return _no_match("sectionName", f"has no listener {parent.section_name!r}", listeners)
    on_port = [item for item in selected if parent.port in (None, item.port) or not item.port]
    if not on_port:
        return _no_match("port", f"does not listen on port {parent.port} there", selected)
    namespace = route.metadata.namespace or DEFAULT_NAMESPACE
    allowed = [
        item
        for item in on_port
        if route.kind in supported_kinds(item) and item.allowed_routes.namespaces.allows(namespace)
    ]
    if not allowed:
        return Attached(failure="NotAllowedByListeners", message=_why_not_allowed(route, on_port, namespace))
    result = []
    for listener in allowed:
        hosts = _hosts(route, listener, listeners)
        if hosts:
            result.append((listener, hosts))
    if result:
        return Attached(tuple(result))
    names = ", ".join(item.hostname or "every host that no other listener names" for item in allowed)
    message = f"no host name of the route is one of its listeners': they serve {names}"
    return Attached(failure="NoMatchingListenerHostname", field="hostnames", message=message)


def _hosts(route: RoutePolicy, listener: Listener, listeners: Iterable[Listener]) -> tuple[str, ...]:
    """The hosts of the route that belong to the listener and not to a more specific one of its port."""
    if not isinstance(route, HTTPRoute | GRPCRoute | TLSRoute):
        return (listener.hostname,)
    rivals = [
        other.hostname for other in listeners if other.port == listener.port and _share_port(listener, other)
    ]
    common = intersect_hostnames(listener.hostname, route.spec.hostnames)
    return tuple(host for host in common if most_specific(rivals, host) == listener.hostname)


def _no_match(field: str, problem: str, listeners: Iterable[Listener]) -> Attached:
    names = ", ".join(f"{item.name} (port {item.port or 'unknown'})" for item in listeners)
    return Attached(failure="NoMatchingParent", field=field, message=f"{problem}: its listeners are {names}")


def _why_not_allowed(route: RoutePolicy, listeners: Iterable[Listener], namespace: str) -> str:
    reasons = []
    for listener in listeners:
        kinds = supported_kinds(listener)
        if route.kind not in kinds:
            accepted = ", ".join(kinds) or "no kind of route"
            reasons.append(f"listener {listener.name} ({listener.protocol}) accepts {accepted}")
        else:
            reasons.append(f"listener {listener.name} accepts no routes of namespace {namespace!r}")
    return "; ".join(reasons)
