"""Which of a virtual host's routes takes a request, as Envoy decides it: the first one that matches. Pure.

For questions about a request that is not made. What depends on chance (the share of a backend) matches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from meshwright.control_plane.core.hostnames import most_specific
from meshwright.control_plane.core.routes import ranked_routes
from meshwright.control_plane.core.text_match import header_matches, shortened, text_described, text_matches
from meshwright.control_plane.core.views import HostView, RuleView
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies import re2


@dataclass(frozen=True, slots=True)
class RoutedRequest:
    """A request as routes see it: `path` with its query, `headers` as sent."""

    method: str
    host: str
    path: str
    headers: Sequence[tuple[str, str]] = ()

    def values(self, name: str) -> Sequence[str]:
        """The values of a header, `:method`, `:authority` or `:path`."""
        if name in (":method", ":authority", ":path"):
            return ({":method": self.method, ":authority": self.host, ":path": self.path}[name],)
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name: str) -> str | None:
        """The values of a header, joined by commas; None without one."""
        values = self.values(name)
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
    return not mismatch(match, request)


def mismatch(match: v3.RouteMatch, request: RoutedRequest) -> str:
    """Why a route is not for the request, by the first part that does not match; empty if it is for it.

    What a filter of the proxy has noted (`filter_state`) counts as matched.
    """
    path, _, query = request.path.partition("?")
    if match.HasField("connect_matcher") != (request.method == "CONNECT"):
        return "it is for CONNECT" if match.HasField("connect_matcher") else "it is not for CONNECT"
    if not match.HasField("connect_matcher") and not _is_path(match, path):
        return f"path {path} is not {path_described(match)}"
    if match.HasField("grpc") and not (request.header("content-type") or "").startswith("application/grpc"):
        return "it is for gRPC"
    for item in match.headers:
        if not header_matches(item, request.values(item.name)):
            return _unmatched(item, request)
    pairs = [pair.partition("=") for pair in query.split("&")]
    parameters = {name: value for name, _, value in reversed(pairs)}
    for parameter in match.query_parameters:
        value = parameters.get(parameter.name)
        if value is None or (
            parameter.HasField("string_match") and not text_matches(parameter.string_match, value)
        ):
            problem = "there is none" if value is None else f"it is {value!r}"
            return f"query parameter {parameter.name} {text_described(parameter.string_match)}: {problem}"
    return ""


def _unmatched(matcher: v3.HeaderMatcher, request: RoutedRequest) -> str:
    sent = request.header(matcher.name)
    problem = "there is none" if sent is None else f"it is {sent!r}"
    return f"{_header_described(matcher)}: {problem}"


def described(match: v3.RouteMatch) -> str:
    """What a route is for, in words."""
    parts = ["CONNECT"] if match.HasField("connect_matcher") else [f"path {path_described(match)}"]
    parts += ["gRPC"] if match.HasField("grpc") else []
    parts += dict.fromkeys(_header_described(item) for item in match.headers if not _is_implied(item, match))
    parts += [
        f"query parameter {item.name} {text_described(item.string_match)}" for item in match.query_parameters
    ]
    return ", ".join(parts)


def _is_implied(matcher: v3.HeaderMatcher, match: v3.RouteMatch) -> bool:
    """Whether another matcher of the route already asks for one of the methods that this one allows."""
    if matcher.name != ":method" or matcher.string_match.exact:
        return False
    methods = [each.string_match.exact for each in match.headers if each.name == ":method"]
    return any(method and header_matches(matcher, (method,)) for method in methods)


def _header_described(matcher: v3.HeaderMatcher) -> str:
    if matcher.WhichOneof("header_match_specifier") in (None, "present_match"):
        return f"{_header_name(matcher)} {'absent' if matcher.invert_match else 'present'}"
    denied = "not " if matcher.invert_match else ""
    if matcher.name == ":method" and matcher.string_match.HasField("safe_regex"):
        return f"method {denied}one of {matcher.string_match.safe_regex.regex.replace('|', ', ')}"
    return f"{_header_name(matcher)} {denied}{text_described(matcher.string_match)}"


def _header_name(matcher: v3.HeaderMatcher) -> str:
    names = {":method": "method", ":authority": "host", ":path": "path"}
    return names.get(matcher.name, f"header {matcher.name}")


def path_described(match: v3.RouteMatch) -> str:
    """`exactly /a`, `below /a`, `matched by /a.*`."""
    match match.WhichOneof("path_specifier"):
        case "path":
            return f"exactly {match.path}"
        case "path_separated_prefix":
            return f"{match.path_separated_prefix} or below"
        case "safe_regex":
            return f"matched by {shortened(match.safe_regex.regex)}"
    return f"{match.prefix or '/'} or longer"


def rewritten(action: v3.RouteAction | v3.RedirectAction, path: str) -> str:
    """The path (without a query) that the route's destination gets."""
    if action.HasField("regex_rewrite"):
        rewrite = action.regex_rewrite
        return re2.substitute(rewrite.pattern.regex, rewrite.substitution, path)
    return path


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
