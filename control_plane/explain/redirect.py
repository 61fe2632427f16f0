"""The `location` of a redirect, as Envoy writes it. Pure."""

from __future__ import annotations

from meshwright.control_plane.core.route_match import RoutedRequest, rewritten
from meshwright.control_plane.envoy import v3

STATUSES = {
    v3.RedirectAction.MOVED_PERMANENTLY: 301,
    v3.RedirectAction.FOUND: 302,
    v3.RedirectAction.SEE_OTHER: 303,
    v3.RedirectAction.TEMPORARY_REDIRECT: 307,
    v3.RedirectAction.PERMANENT_REDIRECT: 308,
}

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def location(action: v3.RedirectAction, request: RoutedRequest, scheme: str) -> str:
    """Where a request that came by `scheme` is sent. A default port of the old scheme is dropped."""
    host, port = action.host_redirect or request.host, ""
    if action.scheme_redirect and action.scheme_redirect != scheme and not action.host_redirect:
        host = host.removesuffix(_DEFAULT_PORTS[scheme])
    if action.port_redirect:
        host, port = _without_port(host), f":{action.port_redirect}"
    path, mark, query = request.path.partition("?")
    return f"{action.scheme_redirect or scheme}://{host}{port}{rewritten(action, path)}{mark}{query}"


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
