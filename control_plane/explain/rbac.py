"""The verdict of Envoy's RBAC filter on a request. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshwright.control_plane.core.route_match import RoutedRequest
from meshwright.control_plane.core.text_match import header_matches, text_matches
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.explain.flow import Flow
from meshwright.control_plane.explain.listener import is_in


class UndecidableError(Exception):
    """The rules depend on what is not known of a request before it is sent."""


def decide(rules: v3.RBACRules, flow: Flow) -> tuple[bool, str]:
    """Whether the request is let through, and the policy that matches (empty: none); the first by its name.

    Raises UndecidableError.
    """
    matching = (name for name in sorted(rules.policies) if _applies(rules.policies[name], flow))
    name = next(matching, "")
    return bool(name) == (rules.action == v3.RBACRules.ALLOW), name


def _applies(policy: v3.RBACPolicy, flow: Flow) -> bool:
    return any(_permits(item, flow.request) for item in policy.permissions) and any(
        _is(item, flow) for item in policy.principals
    )


def _permits(permission: v3.Permission, request: RoutedRequest) -> bool:
    match permission.WhichOneof("rule"):
        case "any":
            return True
        case "and_rules":
            return all(_permits(item, request) for item in permission.and_rules.rules)
        case "or_rules":
            return any(_permits(item, request) for item in permission.or_rules.rules)
        case "not_rule":
            return not _permits(permission.not_rule, request)
        case "header":
            return _has_header(permission.header, request)
        case "url_path":
            path = request.path.partition("?")[0].partition("#")[0]
            return text_matches(permission.url_path.path, path)
    raise UndecidableError("the address that its host has")


def _has_header(matcher: v3.HeaderMatcher, request: RoutedRequest) -> bool:
    """RBAC takes each value of a header that is sent several times."""
    values = request.values(matcher.name)
    if len(values) > 1:
        return any(header_matches(matcher, [value]) for value in values)
    return header_matches(matcher, values)


def _is(principal: v3.Principal, flow: Flow) -> bool:
    kind = principal.WhichOneof("identifier") or ""
    match kind:
        case "any":
            return True
        case "and_ids":
            return all(_is(item, flow) for item in principal.and_ids.ids)
        case "or_ids":
            return any(_is(item, flow) for item in principal.or_ids.ids)
        case "not_id":
            return not _is(principal.not_id, flow)
    return _has(principal, kind, flow)


def _has(principal: v3.Principal, kind: str, flow: Flow) -> bool:
    """Whether the sender has the one property that a principal asks for."""
    match kind:
        case "authenticated":
            identity = flow.sender.identity
            if not principal.authenticated.HasField("principal_name"):
                return bool(identity)
            return bool(identity) and text_matches(principal.authenticated.principal_name, identity)
        case "remote_ip" | "direct_remote_ip":
            return is_in(getattr(principal, kind), flow.sender.address)
        case "header":
            return _has_header(principal.header, flow.request)
        case "sourced_metadata":
            matcher = principal.sourced_metadata.metadata_matcher
            value: Any = flow.tokens
            for segment in matcher.path:
                value = value.get(segment.key) if isinstance(value, Mapping) else None
            return _has_value(matcher.value, value)
    raise UndecidableError("who the client is")


def _has_value(matcher: v3.ValueMatcher, value: Any) -> bool:
    match matcher.WhichOneof("match_pattern"):
        case "string_match":
            return isinstance(value, str) and text_matches(matcher.string_match, value)
        case "bool_match":
            return isinstance(value, bool) and value == matcher.bool_match
        case "list_match":
            return isinstance(value, list) and any(
                _has_value(matcher.list_match.one_of, item) for item in value
            )
    raise UndecidableError("a value of its token")
