"""What Authorizations let a caller do at a service, whatever it requests: everything, some or nothing."""

from __future__ import annotations

from collections.abc import Iterable

from meshwright.control_plane.api.models.authorization import Access
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.policies.authorization.in_force import InForce, NamedSpec, Rules, in_force
from meshwright.control_plane.policies.authorization.matches import CallerMatch
from meshwright.control_plane.policies.authorization.verdict import Call, is_from

_CONDITIONS = ("claims", "addresses", "not_addresses")
# Fields of a CallerMatch that depend on the request or its connection.


def access(policies: Iterable[NamedSpec], caller: Identity | None) -> Access:
    """What a caller may do where these policies (`Kind/name` and spec) are in force; None: any client."""
    rules = in_force(policies)
    denials = list(_matching(rules.deny, caller))
    if "always" in denials:
        return "denied"
    grants = list(_matching(rules.allow, caller)) if rules.refuses_by_default else ["always"]
    if not grants:
        return "denied"
    return "allowed" if "always" in grants and not denials else "partly"


def named_callers(policies: Iterable[NamedSpec]) -> frozenset[str]:
    """The services that rules name."""
    rules: InForce = in_force(policies)
    matches = [
        match for group in (rules.deny, rules.allow) for rule in group.values() for match in rule.from_
    ]
    names = {name for match in matches for name in (*match.services, *match.not_services)}
    return frozenset(names - {"*"})


def _matching(rules: Rules, caller: Identity | None) -> Iterable[str]:
    """`always` or `sometimes` for each rule that matches requests of the caller."""
    for rule in rules.values():
        entries = [match for match in rule.from_ if is_from(_identity_part(match), Call(caller))]
        if rule.from_ and not entries:
            continue
        unconditional = not rule.from_ or any(not _is_conditional(match) for match in entries)
        yield "always" if unconditional and not rule.to else "sometimes"


def _identity_part(match: CallerMatch) -> CallerMatch:
    return match.model_copy(update=dict.fromkeys(_CONDITIONS, ()))


def _is_conditional(match: CallerMatch) -> bool:
    return any(getattr(match, field) for field in _CONDITIONS)
