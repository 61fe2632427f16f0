"""Rules as policies of Envoy's RBAC filters. What they mean is in verdict.py.

`broad`: the rule refuses, so it matches whatever an application might take for what it names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.envoy.cidr import cidr_range
from meshwright.control_plane.policies.authorization.claims import has_claim
from meshwright.control_plane.policies.authorization.matches import CallerMatch, PathMatch, RequestMatch
from meshwright.control_plane.policies.authorization.place import Place
from meshwright.control_plane.policies.authorization.spec import AuthorizationRule
from meshwright.control_plane.policies.httproute.matches import HTTPHeaderMatch

_ANY = r"\C*"
"""Any bytes; `.` does not match one that is not UTF-8."""


def policy(rule: AuthorizationRule, place: Place, *, broad: bool) -> v3.RBACPolicy | None:
    """The rule as a policy; None if it matches nothing at this place."""
    callers = [caller for match in rule.from_ if (caller := _caller(match, place)) is not None]
    requests = [call for match in rule.to if (call := _request(match, place, broad=broad)) is not None]
    if (rule.from_ and not callers) or (rule.to and not requests):
        return None
    return v3.RBACPolicy(
        principals=callers or [v3.Principal(any=True)], permissions=requests or [v3.Permission(any=True)]
    )


# --- callers ------------------------------------------------------------------------------------------


def _caller(match: CallerMatch, place: Place) -> v3.Principal | None:
    ids: list[v3.Principal] = []
    if match.services or match.gateways or match.trust_domains:
        ids.append(_identity(_identities(match)))
    if match.not_services:
        ids.append(v3.Principal(not_id=_identity(rf"spiffe://[^/]+/service/{_one_of(match.not_services)}")))
    if match.addresses:
        ids.append(_addresses(match.addresses, place))
    if match.not_addresses:
        ids.append(v3.Principal(not_id=_addresses(match.not_addresses, place)))
    for claim in match.claims:
        principal = has_claim(claim, place.tokens)
        if principal is None:
            return None
        ids.append(principal)
    return ids[0] if len(ids) == 1 else v3.Principal(and_ids=v3.Principal.Set(ids=ids))


def _identities(match: CallerMatch) -> str:
    """The SPIFFE IDs of the callers (api/spiffe.py)."""
    domain = _one_of(match.trust_domains) if match.trust_domains else "[^/]+"
    if not match.services and not match.gateways:
        return f"spiffe://{domain}/{_ANY}"
    roles = [
        f"{role}/{'[^/]+' if '*' in names else _one_of(names)}"
        for role, names in (("service", match.services), ("gateway", match.gateways))
        if names
    ]
    return f"spiffe://{domain}/(?:{'|'.join(roles)})"


def _identity(regex: str) -> v3.Principal:
    principal = v3.Principal()
    principal.authenticated.principal_name.safe_regex.regex = regex
    return principal


def _addresses(networks: Iterable[str], place: Place) -> v3.Principal:
    ids = []
    for cidr in map(cidr_range, networks):
        principal = v3.Principal()
        (principal.remote_ip if place.gateway else principal.direct_remote_ip).CopyFrom(cidr)
        ids.append(principal)
    return ids[0] if len(ids) == 1 else v3.Principal(or_ids=v3.Principal.Set(ids=ids))


def _one_of(texts: Sequence[str]) -> str:
    escaped = [re.escape(text) for text in texts]
    return escaped[0] if len(escaped) == 1 else f"(?:{'|'.join(escaped)})"


# --- requests -----------------------------------------------------------------------------------------


def _request(match: RequestMatch, place: Place, *, broad: bool) -> v3.Permission | None:
    if match.http_only and place.protocol == "tcp":
        return None
    if place.port in match.not_ports or (match.ports and place.port not in match.ports):
        return None
    rules = list(_permissions(match, broad=broad))
    if not rules:
        return v3.Permission(any=True)
    return rules[0] if len(rules) == 1 else v3.Permission(and_rules=v3.Permission.Set(rules=rules))


def _permissions(match: RequestMatch, *, broad: bool) -> Iterator[v3.Permission]:
    if match.methods:
        yield _methods(match.methods, broad=broad)
    for paths in (match.paths, match.grpc_paths):
        if paths:
            yield _paths(paths, broad=broad)
    if match.hosts:
        yield _hosts(match.hosts, broad=broad)
    for header in match.headers:
        yield _header(header, broad=broad)
    if match.not_methods:
        yield v3.Permission(not_rule=_methods(match.not_methods, broad=not broad))
    if match.not_paths:
        yield v3.Permission(not_rule=_paths(match.not_paths, broad=not broad))
    if match.not_hosts:
        yield v3.Permission(not_rule=_hosts(match.not_hosts, broad=not broad))


def any_of(rules: Sequence[v3.Permission]) -> v3.Permission:
    """One of them; a single one as it is."""
    return rules[0] if len(rules) == 1 else v3.Permission(or_rules=v3.Permission.Set(rules=rules))


def _methods(methods: Sequence[str], *, broad: bool) -> v3.Permission:
    matchers = [v3.StringMatcher(exact=method, ignore_case=broad) for method in methods]
    return any_of(
        [v3.Permission(header=v3.HeaderMatcher(name=":method", string_match=item)) for item in matchers]
    )


def _paths(paths: Sequence[PathMatch], *, broad: bool) -> v3.Permission:
    matchers = [matcher for path in paths for matcher in _path(path, broad=broad)]
    return any_of([v3.Permission(url_path=v3.PathMatcher(path=matcher)) for matcher in matchers])


def _path(path: PathMatch, *, broad: bool) -> Iterator[v3.StringMatcher]:
    if path.type == "Template":
        yield v3.StringMatcher(safe_regex=v3.RegexMatcher(regex=_template(path.value, broad=broad)))
        return
    value = path.value.rstrip("/") if path.type == "PathPrefix" else path.value
    if value:
        yield v3.StringMatcher(exact=value, ignore_case=broad)
    if path.type == "PathPrefix":
        yield v3.StringMatcher(prefix=f"{value}/", ignore_case=broad)
    elif broad and not value.endswith("/"):
        yield v3.StringMatcher(exact=f"{value}/", ignore_case=True)


def _template(value: str, *, broad: bool) -> str:
    segments = value.split("/")[1:]
    rest = segments[-1] == "**"
    parts = []
    for segment in segments[:-1] if rest else segments:
        parts.append("[^/]+" if segment == "*" or segment.startswith("{") else re.escape(segment))
    end = rf"/{_ANY}" if rest else "/?" if broad and parts[-1] else ""
    return f"{'(?i)' if broad else ''}{''.join(f'/{part}' for part in parts)}{end}"


def _hosts(hosts: Sequence[str], *, broad: bool) -> v3.Permission:
    """The name before a port and a trailing dot, in any case."""
    names = [rf"\C+\.{re.escape(host[2:])}" if host.startswith("*.") else re.escape(host) for host in hosts]
    regex = rf"(?:{'|'.join(names)})\.?(?::[0-9]*)?"
    return _header_regex(":authority", f"(?i){_element(regex) if broad else regex}")


def _header(match: HTTPHeaderMatch, *, broad: bool) -> v3.Permission:
    """A header. RBAC takes each value of one that is sent several times; narrow, there may be no other."""
    name = match.name.lower()
    if broad:
        regex = re.escape(match.value) if match.type == "Exact" else f"(?:{match.value})"
        return _header_regex(name, _element(regex))
    if match.type == "RegularExpression":
        return _header_regex(name, match.value)
    exact = v3.HeaderMatcher(name=name, string_match=v3.StringMatcher(exact=match.value))
    other = v3.Permission(not_rule=_header_regex(name, _other_than(match.value)))
    return v3.Permission(and_rules=v3.Permission.Set(rules=[v3.Permission(header=exact), other]))


def _other_than(text: str) -> str:
    """Every text but this one. RE2 has no negation."""
    regex = r"\C+"
    for char in reversed(text):
        regex = rf"(?:|[^\x{{{ord(char):x}}}]{_ANY}|{re.escape(char)}{regex})"
    return regex


def _element(regex: str) -> str:
    """One element of a header: intermediaries join the values of one that is sent twice with commas."""
    return rf"{regex}|(?:{_ANY},)?[ \t]*{regex}[ \t]*(?:,{_ANY})?"


def _header_regex(name: str, regex: str) -> v3.Permission:
    matcher = v3.StringMatcher(safe_regex=v3.RegexMatcher(regex=regex))
    return v3.Permission(header=v3.HeaderMatcher(name=name, string_match=matcher))


# --- refusals without a rule --------------------------------------------------------------------------


def refusal(*permissions: v3.Permission) -> v3.RBACPolicy:
    """A policy for everybody's requests with one of these permissions."""
    return v3.RBACPolicy(principals=[v3.Principal(any=True)], permissions=permissions)


def path_matches(regex: str) -> v3.Permission:
    """Requests whose path matches."""
    matcher = v3.StringMatcher(safe_regex=v3.RegexMatcher(regex=regex))
    return v3.Permission(url_path=v3.PathMatcher(path=matcher))


def has_header(name: str) -> v3.Permission:
    """Requests with this header."""
    return v3.Permission(header=v3.HeaderMatcher(name=name, present_match=True))
