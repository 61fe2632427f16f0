"""A proxy's routes: a row for each route of each virtual host. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from meshwright.cli.proxy_tables.dump import Json, Row, cluster_shares, resources

_TESTS = {"exact": "=", "prefix": "^=", "suffix": "$=", "contains": "*="}
"""A StringMatcher's fields, with signs that everybody knows from CSS selectors."""


def route_rows(configs: Iterable[Json]) -> Iterator[Row]:
    """Route configuration, host, what a request has to match, and where it goes; in the order of matching."""
    for config, status, version in resources(configs, "RoutesConfigDump", "route_config"):
        for host in config.get("virtual_hosts", ()):
            for route in host.get("routes", ()):
                action = route.get("route", {})
                yield {
                    "name": config.get("name", ""),
                    "host": host.get("name", ""),
                    "match": _match_text(route.get("match", {})),
                    "destination": _destination(route),
                    "route": route.get("name", ""),
                    "domains": list(host.get("domains", ())),
                    "timeout": action.get("timeout", ""),
                    "retries": _retries(action, host),
                    "filters": sorted(
                        {*host.get("typed_per_filter_config", ()), *route.get("typed_per_filter_config", ())}
                    ),
                    "status": status,
                    "version": version,
                }


def _retries(action: Json, host: Json) -> str:
    policy = action.get("retry_policy") or host.get("retry_policy")
    return str(policy.get("num_retries", 1)) if policy else ""


def _match_text(match: Json) -> str:
    headers = list(match.get("headers", ()))
    methods = [_header_value(item) for item in headers if item.get("name") == ":method"]
    others = [_header_text(item) for item in headers if item.get("name") != ":method"]
    queries = [f"?{_header_text(item)}" for item in match.get("query_parameters", ())]
    return " ".join([*methods, _path_text(match), *others, *queries])


def _path_text(match: Json) -> str:
    if "path" in match:
        return f"= {match['path']}"
    if regex := match.get("safe_regex"):
        return f"~ {regex.get('regex', '')}"
    if prefix := match.get("prefix") or match.get("path_separated_prefix"):
        return f"{prefix}*"
    if template := match.get("path_match_policy", {}).get("typed_config", {}).get("path_template"):
        return str(template)
    return "CONNECT" if "connect_matcher" in match else "*"


def _header_value(matcher: Json) -> str:
    test = matcher.get("string_match", {})
    return str(
        next((test[field] for field in ("exact", "prefix", "suffix", "contains") if field in test), "*")
    )


def _header_text(matcher: Json) -> str:
    """A header or query parameter and its test: `name=value`; `!` before the name inverts it."""
    name = f"{'!' if matcher.get('invert_match') else ''}{matcher.get('name', '')}"
    test: Any = matcher.get("string_match", {})
    for field, sign in _TESTS.items():
        if field in test:
            return f"{name}{sign}{test[field]}"
    if regex := test.get("safe_regex"):
        return f"{name}~{regex.get('regex', '')}"
    return f"no {name}" if matcher.get("present_match") is False else name


def _destination(route: Json) -> str:
    if redirect := route.get("redirect"):
        return f"redirect {_redirect_text(redirect)}"
    if response := route.get("direct_response"):
        return f"response {response.get('status', '')}"
    action = route.get("route", {})
    if header := action.get("cluster_header"):
        return f"cluster named by header {header}"
    return ", ".join(cluster_shares(action))


def _redirect_text(redirect: Json) -> str:
    scheme = redirect.get("scheme_redirect") or ("https" if redirect.get("https_redirect") else "")
    host, port = redirect.get("host_redirect", ""), redirect.get("port_redirect", "")
    path = redirect.get("path_redirect") or redirect.get("prefix_rewrite", "")
    origin = f"{scheme}://{host or '*'}" if scheme or host or port else ""
    return f"{origin}{f':{port}' if port else ''}{path}"
