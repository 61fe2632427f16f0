"""The filters of an HTTPRoute as fields of Envoy's routes: header modifiers, rewrites, redirects."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Literal, TypeAlias

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.httproute.filters import (
    HTTPHeader,
    HTTPHeaderFilter,
    HTTPPathModifier,
    HTTPRequestRedirectFilter,
    HTTPRouteFilter,
)
from meshwright.control_plane.policies.httproute.matches import HTTPPathMatch

_REDIRECT_CODES = {
    301: v3.RedirectAction.MOVED_PERMANENTLY,
    302: v3.RedirectAction.FOUND,
    303: v3.RedirectAction.SEE_OTHER,
    307: v3.RedirectAction.TEMPORARY_REDIRECT,
    308: v3.RedirectAction.PERMANENT_REDIRECT,
}

Scheme: TypeAlias = Literal["http", "https"]

_SCHEME_PORTS = {"http": 80, "https": 443}
"""The port when only the scheme is given (HTTPRequestRedirectFilter.port of Gateway API v1)."""


def apply_header_modifiers(
    filters: Iterable[HTTPRouteFilter], target: v3.Route | v3.WeightedCluster.ClusterWeight
) -> None:
    """Set, add and remove headers on a route or on one of its backends."""
    for item in filters:
        if item.request_header_modifier is not None:
            target.request_headers_to_add.extend(header_options(item.request_header_modifier))
            target.request_headers_to_remove.extend(item.request_header_modifier.remove)
        if item.response_header_modifier is not None:
            target.response_headers_to_add.extend(header_options(item.response_header_modifier))
            target.response_headers_to_remove.extend(item.response_header_modifier.remove)


def header_options(
    modifier: HTTPHeaderFilter, template: Callable[[HTTPHeader], str] = lambda header: literal(header.value)
) -> Iterable[v3.HeaderValueOption]:
    """The headers to set and to add; those to remove are a field of their own in Envoy.

    `template`: the value of a header as Envoy's format; a header without a value is left out.
    """
    for headers, action in (
        (modifier.set, v3.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD),
        (modifier.add, v3.HeaderValueOption.APPEND_IF_EXISTS_OR_ADD),
    ):
        for header in headers:
            if value := template(header):
                yield v3.HeaderValueOption(
                    header=v3.HeaderValue(key=header.name, value=value), append_action=action
                )


def literal(value: str) -> str:
    """A literal value: Envoy reads % as a format command, %% as a plain percent sign."""
    return value.replace("%", "%%")


def apply_rewrite(filters: Iterable[HTTPRouteFilter], match: HTTPPathMatch, action: v3.RouteAction) -> None:
    """URLRewrite: another host, another path."""
    for item in filters:
        if item.url_rewrite is None:
            continue
        if item.url_rewrite.hostname:
            action.host_rewrite_literal = item.url_rewrite.hostname
        path = item.url_rewrite.path
        if path is not None:
            action.regex_rewrite.CopyFrom(_path_substitution(path, match))


def redirect_action(
    redirect: HTTPRequestRedirectFilter, match: HTTPPathMatch, place: tuple[Scheme, int] = ("http", 0)
) -> v3.RedirectAction:
    """RequestRedirect: scheme, host, port, path and status of the response.

    The port is the redirect's own, else the well-known one of its scheme, else that of the listener. `place`
    is the listener's scheme and port (0 for the scheme's default). Without host, scheme and port Envoy keeps
    the Host of the request.
    """
    scheme, port = place
    action = v3.RedirectAction(response_code=_REDIRECT_CODES[redirect.status_code])
    if redirect.scheme:
        action.scheme_redirect = redirect.scheme
    if redirect.hostname:
        action.host_redirect = redirect.hostname
    if redirect.port:
        action.port_redirect = redirect.port
    elif redirect.hostname:
        # A new host has no port unless one is given, and a well-known port need not be.
        implied = _SCHEME_PORTS[redirect.scheme or scheme]
        action.port_redirect = 0 if redirect.scheme or port == implied else port
    elif redirect.scheme:
        action.port_redirect = _SCHEME_PORTS[redirect.scheme]
    if redirect.path is not None:
        action.regex_rewrite.CopyFrom(_path_substitution(redirect.path, match))
    return action


def redirect_routes(route: v3.Route, scheme: Scheme) -> list[v3.Route]:
    """The routes of a redirect, in the order in which to try them. `scheme` is that of the listener.

    Ports 80 of http and 443 of https should not be in the response (HTTPRequestRedirectFilter.port). Envoy
    removes the port of a request's Host only where the redirect has one, so requests without get a route.
    """
    redirect = route.redirect
    target = redirect.scheme_redirect or scheme
    if (target, redirect.port_redirect) not in _SCHEME_PORTS.items():
        return [route]
    plain = v3.Route()
    plain.CopyFrom(route)
    plain.redirect.port_redirect = 0
    if redirect.host_redirect:
        return [plain]
    # Envoy drops the default port of a scheme that changes.
    dropped = "" if target == scheme else f"(:{_SCHEME_PORTS[scheme]})?"
    no_port = v3.StringMatcher(safe_regex=v3.RegexMatcher(regex=rf"([^:]*|\[.*\]){dropped}"))
    plain.match.headers.append(v3.HeaderMatcher(name=":authority", string_match=no_port))
    return [plain, route]


def _path_substitution(path: HTTPPathModifier, match: HTTPPathMatch) -> v3.RegexMatchAndSubstitute:
    """Both kinds of rewrite as a substitution on the path; the query is unchanged.

    A prefix is replaced by path elements, so `/foo` replaced by `/` turns `/foo/bar` into `/bar`, not `//bar`
    (HTTPPathModifier of Gateway API v1).
    """
    if path.type == "ReplaceFullPath":
        pattern, substitution = "^/.*$", _escape_substitution(path.replace_full_path or "/")
    else:
        prefix = re.escape(match.value.rstrip("/"))
        value = (path.replace_prefix_match or "/").rstrip("/")
        pattern = f"^{prefix}(/.*)?$" if value else f"^{prefix}/*(.*)$"
        substitution = _escape_substitution(value or "/") + "\\1"
    return v3.RegexMatchAndSubstitute(pattern=v3.RegexMatcher(regex=pattern), substitution=substitution)


def _escape_substitution(text: str) -> str:
    return text.replace("\\", "\\\\")
