"""The rules of all Authorizations in force at one place, as they add up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from meshwright.control_plane.policies.authorization.spec import AuthorizationRule, AuthorizationSpec, Default

AMBIGUOUS_PATH: Final = "ambiguous-path"
METHOD_OVERRIDE: Final = "method-override"
"""Refusals without a rule: where rules decide by path or method, what an app might read as another one."""

OVERRIDE_HEADERS: Final = ("x-http-method-override", "x-http-method", "x-method-override")
"""Headers by which frameworks let a request have another method than it was sent with."""

_STRICTEST: tuple[Default, ...] = ("deny", "deny-once-allowed", "allow")

NamedSpec = tuple[str, AuthorizationSpec]
"""`Kind/name` of a document, and its spec."""

Rules = Mapping[str, AuthorizationRule]
"""Rules by their ID, `Authorization/NAME/RULE`."""


@dataclass(frozen=True, slots=True)
class InForce:
    """Rules by what they do. `refuses_by_default`: what no allow rule matches is refused.

    `audited_deny` and `audited_allow` are on trial: they refuse nothing. `audited_allow` is empty where allow
    rules are in force already, which it would only add to. `policies` have rules that are enforced;
    `allowing` are responsible where no allow rule matches.
    """

    deny: Rules
    allow: Rules
    audited_deny: Rules
    audited_allow: Rules
    refuses_by_default: bool
    policies: tuple[str, ...]
    allowing: tuple[str, ...]

    @property
    def by_path(self) -> bool:
        """Whether an enforced rule decides by path."""
        return any(match.by_path for rule in self._enforced() for match in rule.to)

    @property
    def by_method(self) -> bool:
        """Whether an enforced rule decides by method."""
        return any(match.by_method for rule in self._enforced() for match in rule.to)

    def _enforced(self) -> Iterable[AuthorizationRule]:
        return (*self.deny.values(), *(self.allow.values() if self.refuses_by_default else ()))


def in_force(policies: Iterable[NamedSpec]) -> InForce:
    """The rules of some policies, all of which apply."""
    ordered = sorted(policies, key=lambda item: item[0])
    defaults = {spec.default for _, spec in ordered if spec.default}
    default = next((value for value in _STRICTEST if value in defaults), "deny-once-allowed")
    groups: dict[str, dict[str, AuthorizationRule]] = {
        name: {} for name in ("deny", "allow", "audited_deny", "audited_allow")
    }
    for ref, spec in ordered:
        for rule, name in spec.named_rules():
            trial = spec.enforcement == "audit" or rule.action == "audit"
            group = "allow" if rule.action == "allow" else "deny"
            groups[f"audited_{group}" if trial else group][f"{ref}/{name}"] = rule
    refuses = default == "deny" or (default == "deny-once-allowed" and bool(groups["allow"]))
    if refuses or default == "allow":
        groups["audited_allow"] = {}
    allowing = {key.rpartition("/")[0] for key in groups["allow"]}
    allowing |= {ref for ref, spec in ordered if spec.default == "deny"}
    enforced = tuple(ref for ref, spec in ordered if spec.enforcement == "enforce")
    return InForce(**groups, refuses_by_default=refuses, policies=enforced, allowing=tuple(sorted(allowing)))
