"""What the rules of Authorizations say about one call. Pure, and independent of Envoy's configuration.

`mesh authz check` shows it, and tests compare it with what real Envoys do.

A rule that refuses matches broadly, one that lets through narrowly: paths and methods are compared without
regard to case by the one and exactly by the other, and of a header sent twice the one needs any value, the
other every one (where it is compared exactly). What an application might take for a refused request is
refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any, Literal

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.policies import re2
from meshwright.control_plane.policies.ambiguous_path import is_ambiguous
from meshwright.control_plane.policies.authorization.in_force import (
    AMBIGUOUS_PATH,
    METHOD_OVERRIDE,
    OVERRIDE_HEADERS,
    InForce,
    NamedSpec,
    in_force,
)
from meshwright.control_plane.policies.authorization.matches import (
    CallerMatch,
    ClaimMatch,
    PathMatch,
    RequestMatch,
)
from meshwright.control_plane.policies.authorization.spec import AuthorizationRule
from meshwright.control_plane.policies.httproute.matches import HTTPHeaderMatch


@dataclass(frozen=True, slots=True)
class Call:
    """One request, or with `protocol` tcp one connection.

    `caller` is None without a certificate. `tokens` are the claims of each verified token. `address`: at a
    gateway the client's, at a service that of the host that connects. `path` has no query. `port` is the name
    of the service's port, empty at a gateway. `headers` as sent, names in any case.
    """

    caller: Identity | None = None
    tokens: Sequence[Mapping[str, Any]] = ()
    address: str = "127.0.0.1"
    method: str = "GET"
    host: str = ""
    path: str = "/"
    port: str = "http"
    headers: Sequence[tuple[str, str]] = ()
    protocol: Literal["http", "tcp"] = "http"

    def header(self, name: str) -> list[str]:
        """The values of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


Reason = Literal["deny-rule", "allow-rule", "no-allow-rule", "no-rule", "ambiguous-path", "method-override"]


@dataclass(frozen=True, slots=True)
class AccessDecision:
    """Whether a call is let through, and why.

    `rule` is `Authorization/NAME/RULE`, the rule that decided; empty if none did. `policies` (`Kind/name`)
    are responsible: that of the rule, or those whose allow rules did not match. `audited`: what rules on
    trial would refuse; `no-allow-rule` stands for allow rules on trial that did not match.
    """

    allowed: bool
    reason: Reason
    rule: str = ""
    policies: tuple[str, ...] = ()
    audited: tuple[str, ...] = field(default=())


def decide(policies: Iterable[NamedSpec], call: Call) -> AccessDecision:
    """The decision of all policies (`Kind/name` and spec) in force at one place."""
    rules = in_force(policies)
    audited = _audited(rules, call)
    for rule_id, rule in sorted(rules.deny.items()):
        if _matches(rule, call, broad=True):
            return AccessDecision(False, "deny-rule", rule_id, (_policy_of(rule_id),), audited)
    if call.protocol == "http" and rules.by_path and is_ambiguous(call.path):
        return AccessDecision(False, AMBIGUOUS_PATH, policies=rules.policies, audited=audited)
    if call.protocol == "http" and rules.by_method and any(map(call.header, OVERRIDE_HEADERS)):
        return AccessDecision(False, METHOD_OVERRIDE, policies=rules.policies, audited=audited)
    if not rules.refuses_by_default:
        return AccessDecision(True, "no-rule", audited=audited)
    for rule_id, rule in sorted(rules.allow.items()):
        if _matches(rule, call, broad=False):
            return AccessDecision(True, "allow-rule", rule_id, (_policy_of(rule_id),), audited)
    return AccessDecision(False, "no-allow-rule", policies=rules.allowing, audited=audited)


def _audited(rules: InForce, call: Call) -> tuple[str, ...]:
    """What rules on trial say; the first deny rule alone, as in Envoy."""
    denied = [key for key, rule in sorted(rules.audited_deny.items()) if _matches(rule, call, broad=True)]
    audited = denied[:1]
    allow = rules.audited_allow
    if allow and not any(_matches(rule, call, broad=False) for rule in allow.values()):
        audited.append("no-allow-rule")
    return tuple(audited)


def _policy_of(rule_id: str) -> str:
    return rule_id.rpartition("/")[0]


def _matches(rule: AuthorizationRule, call: Call, *, broad: bool) -> bool:
    callers = not rule.from_ or any(is_from(match, call) for match in rule.from_)
    requests = not rule.to or any(_is_to(match, call, broad=broad) for match in rule.to)
    return callers and requests


# --- callers ------------------------------------------------------------------------------------------


def is_from(match: CallerMatch, call: Call) -> bool:
    """Whether a call is from one of the callers that `match` describes."""
    caller, address = call.caller, ip_address(call.address)
    role, name = (caller.role, caller.name) if caller else ("", "")
    if match.services or match.gateways:
        names = {"service": match.services, "gateway": match.gateways}.get(role, ())
        if name not in names and "*" not in names:
            return False
    if match.trust_domains and (caller is None or caller.trust_domain not in match.trust_domains):
        return False
    if role == "service" and name in match.not_services:
        return False
    if match.addresses and not any(address in ip_network(item) for item in match.addresses):
        return False
    if any(address in ip_network(item) for item in match.not_addresses):
        return False
    return all(any(_has_claim(token, claim) for token in call.tokens) for claim in match.claims)


def _has_claim(token: Mapping[str, Any], claim: ClaimMatch) -> bool:
    if claim.issuer and token.get("iss") != claim.issuer:
        return False
    value: Any = token
    for key in claim.name.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    texts: set[str] = set()
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, bool):
            texts.add(str(item).lower())
        elif isinstance(item, str):
            words = item.split(" ") if claim.name in ("scope", "scp") else []
            texts |= {item, *words}
    return not texts.isdisjoint(claim.values)


# --- requests -----------------------------------------------------------------------------------------


def _is_to(match: RequestMatch, call: Call, *, broad: bool) -> bool:
    if match.http_only and call.protocol == "tcp":
        return False
    conditions: list[tuple[Sequence[object], bool]] = [
        (match.ports, call.port in match.ports),
        (match.methods, _is_method(match.methods, call, broad=broad)),
        (match.paths, any(_is_path(path, call.path, broad=broad) for path in match.paths)),
        (match.hosts, _is_host(match.hosts, call, broad=broad)),
        (match.headers, all(_has_header(header, call, broad=broad) for header in match.headers)),
        (match.grpc, any(_is_path(path, call.path, broad=broad) for path in match.grpc_paths)),
    ]
    if any(values and not fulfilled for values, fulfilled in conditions):
        return False
    return not (
        call.port in match.not_ports
        or _is_method(match.not_methods, call, broad=not broad)
        or any(_is_path(path, call.path, broad=not broad) for path in match.not_paths)
        or _is_host(match.not_hosts, call, broad=not broad)
    )


def _is_method(methods: Sequence[str], call: Call, *, broad: bool) -> bool:
    return (call.method.upper() if broad else call.method) in methods


def _is_path(match: PathMatch, path: str, *, broad: bool) -> bool:
    value, segments = match.value, path.split("/")[1:]
    if broad:
        value, segments = value.lower(), [segment.lower() for segment in segments]
    expected = value.split("/")[1:]
    if match.type == "PathPrefix":
        expected = value.rstrip("/").split("/")[1:]
        return segments[: len(expected)] == expected
    if match.type == "Template" and expected[-1] == "**":
        expected = expected[:-1]
        if len(segments) <= len(expected):
            return False
        segments = segments[: len(expected)]
    elif broad and segments[-1] == "" and expected[-1] != "":
        segments = segments[:-1]
    if match.type == "Exact":
        return segments == expected
    pairs = zip(expected, segments, strict=False)
    return len(expected) == len(segments) and all(
        bool(text) if pattern == "*" or pattern.startswith("{") else text == pattern
        for pattern, text in pairs
    )


def _is_host(hosts: Sequence[str], call: Call, *, broad: bool) -> bool:
    values = [call.host, *call.host.split(",")] if broad else [call.host]
    return any(
        _names_host(host, value.strip(" \t") if broad else value) for host in hosts for value in values
    )


def _names_host(host: str, value: str) -> bool:
    name = re.sub(r":[0-9]*$", "", value.lower()).removesuffix(".")
    if host.startswith("*."):
        return name.endswith(host[1:]) and name != host[1:]
    return name == host


def _has_header(match: HTTPHeaderMatch, call: Call, *, broad: bool) -> bool:
    values = call.header(match.name)
    if not broad and match.type == "Exact":
        return bool(values) and all(value == match.value for value in values)
    if not broad:
        return any(_is_value(match, value) for value in values)
    elements = [item.strip(" \t") for value in values for item in value.split(",")]
    return any(_is_value(match, value) for value in (*values, *elements))


def _is_value(match: HTTPHeaderMatch, value: str) -> bool:
    if match.type == "Exact":
        return value == match.value
    return re2.fullmatch(match.value, value)
