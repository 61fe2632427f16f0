"""HTTPRoute filters → fields of Envoy's routes: header modifiers, rewrites, redirects."""

from __future__ import annotations

import re
from collections.abc import Iterable

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.httproute.filters import (
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

_SCHEME_PORTS = {"http": 80, "https": 443}
"""What the port becomes when only the scheme is given (HTTPRequestRedirectFilter.port of Gateway API v1)."""


def apply_header_modifiers(
    found: Iterable[HTTPRouteFilter], target: v3.Route | v3.WeightedCluster.ClusterWeight
) -> None:
    """Set, add and remove headers on a route or on one backend of it."""
    for one in found:
        if one.request_header_modifier is not None:
            target.request_headers_to_add.extend(_header_options(one.request_header_modifier))
            target.request_headers_to_remove.extend(one.request_header_modifier.remove)
        if one.response_header_modifier is not None:
            target.response_headers_to_add.extend(_header_options(one.response_header_modifier))
            target.response_headers_to_remove.extend(one.response_header_modifier.remove)


def _header_options(modifier: HTTPHeaderFilter) -> Iterable[v3.HeaderValueOption]:
    for headers, action in (
        (modifier.set, v3.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD),
        (modifier.add, v3.HeaderValueOption.APPEND_IF_EXISTS_OR_ADD),
    ):
        for header in headers:
            # Envoy reads % as a command in header values; %% is a plain one.
            value = v3.HeaderValue(key=header.name, value=header.value.replace("%", "%%"))
            yield v3.HeaderValueOption(header=value, append_action=action)


def apply_rewrite(found: Iterable[HTTPRouteFilter], match: HTTPPathMatch, action: v3.RouteAction) -> None:
    """URLRewrite: another host, another path."""
    for one in found:
        if one.url_rewrite is None:
            continue
        if one.url_rewrite.hostname:
            action.host_rewrite_literal = one.url_rewrite.hostname
        path = one.url_rewrite.path
        if path is not None:
            action.regex_rewrite.CopyFrom(_path_substitution(path, match))


def redirect_action(found: HTTPRequestRedirectFilter, match: HTTPPathMatch) -> v3.RedirectAction:
    """RequestRedirect: scheme, host, port, path and status of the answer."""
    action = v3.RedirectAction(response_code=_REDIRECT_CODES[found.status_code])
    if found.scheme:
        action.scheme_redirect = found.scheme
    if found.hostname:
        action.host_redirect = found.hostname
    port = found.port or _SCHEME_PORTS.get(found.scheme or "")
    if port:
        action.port_redirect = port
    if found.path is not None:
        action.regex_rewrite.CopyFrom(_path_substitution(found.path, match))
    return action


def _path_substitution(path: HTTPPathModifier, match: HTTPPathMatch) -> v3.RegexMatchAndSubstitute:
    """Both rewrites as a substitution on the path: the query stays as it is.

    A prefix is replaced by path elements, so `/foo` replaced by `/` turns `/foo/bar` into `/bar`, not `//bar`
    (HTTPPathModifier of Gateway API v1).
    """
    if path.type == "ReplaceFullPath":
        pattern, substitution = "^/.*$", _literal(path.replace_full_path or "/")
    else:
        prefix = re.escape(match.value.rstrip("/"))
        value = (path.replace_prefix_match or "/").rstrip("/")
        pattern = f"^{prefix}(/.*)?$" if value else f"^{prefix}/*(.*)$"
        substitution = _literal(value or "/") + "\\1"
    return v3.RegexMatchAndSubstitute(pattern=v3.RegexMatcher(regex=pattern), substitution=substitution)


def _literal(text: str) -> str:
    return text.replace("\\", "\\\\")
