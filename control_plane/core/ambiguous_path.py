"""A sidecar answers 400 to a path that apps may read in two ways, where an HTTPRoute decides by path.

Rules see the path as the caller wrote it. An app may resolve `/public/../admin` or `/public//x`, unescape
`/%61dmin` or `%2F`, and so see a path that another rule is for. A gateway normalises paths (edge.py). Envoy
does that for all requests of a listener or for none, and inside the mesh paths pass unchanged, so a sidecar
refuses what a gateway would change or refuse, for the hosts whose routes decide by path. The annotation
`meshwright.io/paths: Keep` of the route turns that off.
"""

from __future__ import annotations

import re

from meshwright.control_plane.core.views import HostView, RuleView
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.hooks import METADATA_KEY
from meshwright.control_plane.policies.httproute.spec import PATHS_ANNOTATION, HTTPRouteRule

STATUS = 400
ROUTE = "ambiguous-path"

_SLASHES = r"//|\\|%2[fF]|%5[cC]"
_UNRESERVED = r"%2[dDeE]|%3[0-9]|%[46][1-9a-fA-F]|%[57][0-9aA]|%5[fF]|%7[eE]"
"""Escaped letters, digits, `-`, `.`, `_` and `~`, which mean the same unescaped (RFC 3986, section 2.3)."""

PATTERN = rf".*(?:{_SLASHES}|{_UNRESERVED}).*|.*/\.{{1,2}}(?:/.*)?"
"""Paths that normalisation (RFC 3986, section 6.2.2) or a careless app changes, in RE2's syntax."""


def is_ambiguous(path: str) -> bool:
    """Whether a path without its query matches PATTERN."""
    return re.fullmatch(PATTERN, path) is not None


def refusal(host: HostView) -> list[v3.Route]:
    """The route for ambiguous paths, which goes before all others; none if no rule decides by path."""
    routes = sorted({rule.route for rule in host.rules if _decides_by_path(rule)})
    if not routes:
        return []
    text = (
        f"the path is ambiguous (//, . or .., a backslash, an escaped slash or letter), and {routes[0]} "
        f"decides by path: normalise the path, or annotate the route with {PATHS_ANNOTATION}: Keep\n"
    )
    route = v3.Route(
        name=ROUTE,
        match=v3.RouteMatch(safe_regex=v3.RegexMatcher(regex=PATTERN)),
        direct_response=v3.DirectResponseAction(status=STATUS, body=v3.DataSource(inline_string=text)),
    )
    route.metadata.filter_metadata[METADATA_KEY].update({"policies": routes})
    return [route]


def _decides_by_path(rule: RuleView) -> bool:
    if rule.keeps_paths or not rule.route or not isinstance(rule.rule, HTTPRouteRule):
        return False
    return any(match.path.type != "PathPrefix" or match.path.value != "/" for match in rule.rule.matches)
