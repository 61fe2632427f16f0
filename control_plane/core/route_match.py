"""Which of a virtual host's routes takes a request, as Envoy decides it: the first one that matches. Pure.

For questions about a request that is not made. What depends on chance (the share of a backend) matches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from meshwright.control_plane.core.hostnames import most_specific
from meshwright.control_plane.core.routes import ranked_routes
from meshwright.control_plane.core.views import HostView, RuleView
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies import re2

Headers = tuple[tuple[str, str], ...]
"""Headers as sent: names in any case, with values."""


@dataclass(frozen=True, slots=True)
class RoutedRequest:
    """A request as routes see it: `path` with its query, `headers` as sent."""

    method: str
    host: str
    path: str
    headers: Sequence[tuple[str, str]] = ()

    def header(self, name: str) -> str | None:
        """The values of a header, joined by commas; None without one."""
        if name == ":method":
            return self.method
        values = [value for key, value in self.headers if key.lower() == name]
        return ",".join(values) if values else None


def host_for(hosts: Iterable[HostView], authority: str) -> HostView | None:
    """The virtual host for the Host header of a request; its port does not matter."""
    name = authority.lower().rpartition(":")[0] or authority.lower()
    by_domain = {("" if domain == "*" else domain): host for host in hosts for domain in host.domains}
    domain = most_specific(by_domain, name)
    return None if domain is None else by_domain[domain]


def matching(host: HostView, request: RoutedRequest) -> tuple[tuple[RuleView, v3.Route], ...]:
    """The routes that may take the request, with their rules: the first, and more while they take a share."""
    taken: list[tuple[RuleView, v3.Route]] = []
    for rule, route in ranked_routes(host):
        if matches(route.match, request):
            taken.append((rule, route))
            if not route.match.HasField("runtime_fraction"):
                break
    return tuple(taken)


def matches(match: v3.RouteMatch, request: RoutedRequest) -> bool:
    """Whether a route is for the request."""
    path, _, query = request.path.partition("?")
    pairs = [pair.partition("=") for pair in query.split("&")]
    parameters = {name: value for name, _, value in reversed(pairs)}
    content = request.header("content-type") or ""
    return (
        _is_path(match, path)
        and (not match.HasField("grpc") or content.startswith("application/grpc"))
        and all(
            (value := request.header(item.name)) is not None and _is_text(item.string_match, value)
            for item in match.headers
        )
        and all(
            item.name in parameters and _is_text(item.string_match, parameters[item.name])
            for item in match.query_parameters
        )
    )


def rewritten(action: v3.RouteAction, path: str) -> str:
    """The path (without a query) that the route's destination gets."""
    if not action.HasField("regex_rewrite"):
        return path
    rewrite = action.regex_rewrite
    return re2.substitute(rewrite.pattern.regex, rewrite.substitution, path)


def with_changes(headers: Headers, target: v3.Route | v3.WeightedCluster.ClusterWeight) -> Headers:
    """The headers after those that a route or backend removes, sets and adds, in Envoy's order.

    A header whose value depends on more than the request is left out.
    """
    removed = {name.lower() for name in target.request_headers_to_remove}
    changed = [pair for pair in headers if pair[0].lower() not in removed]
    for option in target.request_headers_to_add:
        name, value = option.header.key.lower(), option.header.value
        if option.append_action == v3.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD:
            changed = [pair for pair in changed if pair[0].lower() != name]
        if "%" not in value.replace("%%", ""):
            changed.append((name, value.replace("%%", "%")))
    return tuple(changed)


def _is_path(match: v3.RouteMatch, path: str) -> bool:
    match match.WhichOneof("path_specifier"):
        case "prefix":
            return path.startswith(match.prefix)
        case "path":
            return path == match.path
        case "path_separated_prefix":
            prefix = match.path_separated_prefix
            return path == prefix or path.startswith(f"{prefix}/")
        case "safe_regex":
            return re2.fullmatch(match.safe_regex.regex, path)
    return False


def _is_text(match: v3.StringMatcher, text: str) -> bool:
    if match.HasField("safe_regex"):
        return re2.fullmatch(match.safe_regex.regex, text)
    return text == match.exact
