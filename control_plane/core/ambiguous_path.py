"""A sidecar answers 400 to a path that apps may read in two ways, where an HTTPRoute decides by path.

Rules see the path as the caller wrote it. An app may resolve `/public/../admin` or `/public//x`, unescape
`/%61dmin` or `%2F`, and so see a path that another rule is for. A gateway normalises paths (edge.py). Envoy
does that for all requests of a listener or for none, and inside the mesh paths pass unchanged, so a sidecar
refuses what a gateway would change or refuse, for the hosts whose routes decide by path. The annotation
`meshwright.io/paths: Keep` of the route turns that off.
"""

from __future__ import annotations

from meshwright.control_plane.api.resource_metadata import METADATA_KEY
from meshwright.control_plane.core.views import HostView, RuleView
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.ambiguous_path import NORMALISED
from meshwright.control_plane.policies.httproute.spec import PATHS_ANNOTATION, HTTPRouteRule

STATUS = 400
ROUTE = "ambiguous-path"


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
        match=v3.RouteMatch(safe_regex=v3.RegexMatcher(regex=NORMALISED)),
        direct_response=v3.DirectResponseAction(status=STATUS, body=v3.DataSource(inline_string=text)),
    )
    route.metadata.filter_metadata[METADATA_KEY].update({"policies": routes})
    return [route]


def _decides_by_path(rule: RuleView) -> bool:
    if rule.keeps_paths or not rule.route or not isinstance(rule.rule, HTTPRouteRule):
        return False
    return any(match.path.type != "PathPrefix" or match.path.value != "/" for match in rule.rule.matches)
