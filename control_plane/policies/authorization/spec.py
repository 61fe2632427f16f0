"""Authorization: who may call a service, a gateway or a route, and how."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from meshwright.control_plane.policies.authorization.matches import CallerMatch, RequestMatch
from meshwright.control_plane.policies.base import (
    Combine,
    OptionalObjectName,
    Spec,
    TargetedPolicy,
    TargetedSpec,
    TargetKind,
    TargetRef,
)
from meshwright.control_plane.policies.field_types import check_distinct

MAX_RULES = 128

Default = Literal["deny-once-allowed", "deny", "allow"]


class AuthorizationRule(Spec):
    """What happens to the requests of some callers."""

    name: OptionalObjectName = Field(
        "", description="Names the rule in logs and in `mesh why`. Omitted: its number, from 0."
    )
    action: Literal["allow", "deny", "audit"] = Field(
        "allow", description="audit lets requests through and records them: a deny rule on trial."
    )
    from_: tuple[CallerMatch, ...] = Field(
        (), alias="from", max_length=32, description="Who calls: one of these. Omitted: everybody."
    )
    to: tuple[RequestMatch, ...] = Field(
        (), max_length=32, description="What is called: one of these. Omitted: everything."
    )


class AuthorizationSpec(TargetedSpec):
    """Targets and rules."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset(
        {"Mesh", "Gateway", "Service", "ExternalService", "HTTPRoute", "GRPCRoute"}
    )
    gateway_sections: ClassVar[bool] = True
    gateway_routes_only: ClassVar[bool] = True
    mesh_has_gateways: ClassVar[bool] = False

    rules: tuple[AuthorizationRule, ...] = Field(
        (), max_length=MAX_RULES, description="The rules. Of those that match a request, deny wins."
    )
    default: Default | None = Field(
        None,
        description="For a policy of the Mesh: what happens to a request that no rule matches. "
        "deny-once-allowed, also without this field: a service with an allow rule refuses it, others let it "
        "through. deny: every service refuses it. allow: only deny rules refuse. The strictest of several "
        "counts.",
    )
    enforcement: Literal["enforce", "audit"] = Field(
        "enforce", description="audit refuses nothing and records what this policy would refuse."
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.from_:
            raise ValueError("from: callers belong to a rule: use rules[].from")
        if not self.rules and self.default is None:
            raise ValueError("there are no rules, so the policy has no effect: add one")
        if self.default is not None and any(ref.kind != "Mesh" for ref in self.target_refs):
            raise ValueError(
                "default is for a policy of the Mesh alone: leave it out, or target only the Mesh"
            )
        if self.default is not None and self.enforcement == "audit":
            raise ValueError("default cannot be on trial: leave out default or enforcement")
        check_distinct((name for _, name in self.named_rules()), "rule")
        return self

    def named_rules(self) -> tuple[tuple[AuthorizationRule, str], ...]:
        """Each rule with its name, or its number."""
        return tuple((rule, rule.name or str(index)) for index, rule in enumerate(self.rules))

    def port_names(self) -> Iterator[tuple[str, str]]:
        """The ports of what is called."""
        for number, rule in enumerate(self.rules):
            for index, call in enumerate(rule.to):
                for field, names in (("ports", call.ports), ("notPorts", call.not_ports)):
                    for name in names:
                        yield f"rules[{number}].to[{index}].{field}", name

    def inapplicable_reason(self, target: TargetRef) -> str:
        """What cannot match at a target."""
        at_gateway = target.kind not in ("Mesh", "Service")
        for rule, name in self.named_rules():
            if target.kind == "ExternalService" and rule.from_:
                return f"rule {name}: who may call is `from` of the ExternalService: leave it out here"
            if at_gateway and any(caller.needs_identity for caller in rule.from_):
                return f"rule {name}: a gateway's clients have no identity: use claims or addresses"
            if at_gateway and any(call.ports or call.not_ports for call in rule.to):
                return f"rule {name}: ports are those of a service: target a listener by sectionName"
        return ""


class Authorization(TargetedPolicy):
    """Lets callers in, or refuses them, by identity, token, address and request.

    A policy for a Service or the Mesh is enforced by the sidecars of the called service, whatever the caller
    does; one for a Gateway, one of its listeners (`sectionName`) or a route at the gateway; one for an
    ExternalService by the sidecars that call it. The rules of all policies add up: a deny rule wins, and
    where there is an allow rule, everything that no allow rule matches is refused. A refused request gets 403
    `RBAC: access denied`.
    """

    combine: ClassVar[Combine] = "all"
    order: ClassVar[int] = 190

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["Authorization"] = Field(description="Always Authorization.")
    spec: AuthorizationSpec = Field(description="Targets, rules, and what happens without one.")
