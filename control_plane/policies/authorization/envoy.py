"""Authorization as two of Envoy's RBAC filters: one refuses what a deny rule matches, the next one what no
allow rule matches.

Listeners have both, disabled. A route with rules enables and configures them, so a change of rules cuts no
connection. Each policy of RBAC is named `Authorization/NAME/RULE`, and `%RESPONSE_CODE_DETAILS%` of a refused
request has this name. Rules on trial are shadow rules: they count, and leave their verdict in dynamic
metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from google.protobuf.message import Message

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.api.resource_metadata import METADATA_KEY
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.ambiguous_path import AMBIGUOUS
from meshwright.control_plane.policies.authorization import rbac
from meshwright.control_plane.policies.authorization.in_force import (
    AMBIGUOUS_PATH,
    METHOD_OVERRIDE,
    OVERRIDE_HEADERS,
    InForce,
    NamedSpec,
    Rules,
    in_force,
)
from meshwright.control_plane.policies.authorization.place import Place
from meshwright.control_plane.policies.authorization.spec import AuthorizationSpec
from meshwright.control_plane.policies.hooks import (
    FilterEntry,
    FilterPhase,
    Hooks,
    ListenerDirection,
    Symptom,
)
from meshwright.control_plane.policies.jwtauthentication.envoy import tokens_of
from meshwright.control_plane.policies.reply_reason import Reason

DENY, ALLOW = "authorization.1-deny", "authorization.2-allow"
"""The names of the filters, which are in the order of their names."""

AUTHORIZATION_KEY = "authorization"
"""The metadata of a route, below METADATA_KEY, that lists the policies in force on it."""

NO_ALLOW_RULE = "none"
"""What Envoy writes in place of a policy's name where no allow rule matched."""

_DENIED = "rbac_access_denied_matched_policy[{}"

_REASONS = (
    (f"[{NO_ALLOW_RULE}]", "no allow rule matches the request"),
    (f"[{AMBIGUOUS_PATH}]", "the path may be read in two ways, and a rule decides by path: normalise it"),
    (
        f"[{METHOD_OVERRIDE}]",
        "a header overrides the method, and a rule decides by method: send the real one",
    ),
    ("", "a deny rule matches the request"),
)


class AuthorizationHooks(Hooks[AuthorizationSpec]):
    """The RBAC filters at gateways and sidecars.

    Whether a policy with allow rules refuses the rest depends on the others.
    """

    as_one: ClassVar[bool] = True

    explains: ClassVar[tuple[Symptom, ...]] = (
        Symptom(fields=("rules", "default"), details=_DENIED.format(""), statistic="rbac.denied"),
    )
    reply_reasons: ClassVar[tuple[Reason, ...]] = (
        Reason(
            tuple(
                _DENIED.format(name)
                for name in (
                    "Authorization/",
                    f"{NO_ALLOW_RULE}]",
                    f"{AMBIGUOUS_PATH}]",
                    f"{METHOD_OVERRIDE}]",
                )
            ),
            body="%LOCAL_REPLY_BODY% (%RESPONSE_CODE_DETAILS%)",
            causes=_REASONS,
        ),
    )

    @property
    def _policies(self) -> Sequence[NamedSpec]:
        return [(hooks.ref, hooks.spec) for hooks in self.members]

    @classmethod
    def route_filters(cls, direction: ListenerDirection) -> Sequence[FilterEntry]:  # noqa: ARG003
        """At gateways, at the sidecars of a destination, and at those that call hosts outside the mesh."""
        return [(FilterPhase.AUTHORIZATION, name, v3.RBAC()) for name in (DENY, ALLOW)]

    def patch_gateway_route(self, route: v3.Route) -> list[v3.Route]:
        """Apply the rules to clients of the gateway, or to what a sidecar sends outside the mesh."""
        return self._authorized(route, Place(gateway=True, tokens=tokens_of(route)))

    def patch_inbound_route(self, route: v3.Route) -> list[v3.Route]:
        """Apply the rules to callers of the service."""
        port = cluster_names.app_port(route.route.cluster)
        return self._authorized(route, Place(port=port, tokens=tokens_of(route)))

    @classmethod
    def connection_filters(cls) -> Sequence[tuple[str, Message]]:
        """The same two filters for connections."""
        return [(name, _network(v3.RBAC())) for name in (DENY, ALLOW)]

    def connection_filter(self, name: str, port: str, *, gateway: bool) -> Message:
        """The rules that can match a connection."""
        place = Place(gateway=gateway, port=port, protocol="tcp")
        build = {DENY: deny_filter, ALLOW: allow_filter}[name]
        return _network(build(in_force(self._policies), place))

    def _authorized(self, route: v3.Route, place: Place) -> list[v3.Route]:
        if not route.HasField("route"):
            return [route]
        rules = in_force(self._policies)
        for name, config in ((DENY, deny_filter(rules, place)), (ALLOW, allow_filter(rules, place))):
            if config.ByteSize():
                route.typed_per_filter_config[name].CopyFrom(codec.pack(v3.RBACPerRoute(rbac=config)))
        refs = [ref for ref, _ in self._policies]
        route.metadata.filter_metadata[METADATA_KEY].update({AUTHORIZATION_KEY: refs})
        return [route]


def deny_filter(rules: InForce, place: Place) -> v3.RBAC:
    """The filter that refuses what a deny rule matches; empty if nothing can be refused."""
    config = v3.RBAC()
    refusals = _policies(rules.deny, place, broad=True)
    if place.protocol == "http" and rules.by_path:
        refusals[AMBIGUOUS_PATH] = rbac.refusal(rbac.path_matches(AMBIGUOUS))
    if place.protocol == "http" and rules.by_method:
        refusals[METHOD_OVERRIDE] = rbac.refusal(*map(rbac.has_header, OVERRIDE_HEADERS))
    audited = _policies(rules.audited_deny, place, broad=True)
    if refusals:
        config.rules.CopyFrom(v3.RBACRules(action=v3.RBACRules.DENY, policies=refusals))
    if audited:
        config.shadow_rules.CopyFrom(v3.RBACRules(action=v3.RBACRules.DENY, policies=audited))
        config.shadow_rules_stat_prefix, config.track_per_rule_stats = AUDIT_DENY, True
    return config


def allow_filter(rules: InForce, place: Place) -> v3.RBAC:
    """The filter that refuses what no allow rule matches; empty if such requests are let through."""
    config = v3.RBAC()
    if rules.refuses_by_default:
        config.rules.CopyFrom(v3.RBACRules(policies=_policies(rules.allow, place, broad=False)))
    if rules.audited_allow:
        config.shadow_rules.CopyFrom(
            v3.RBACRules(policies=_policies(rules.audited_allow, place, broad=False))
        )
        config.shadow_rules_stat_prefix, config.track_per_rule_stats = AUDIT_ALLOW, True
    return config


AUDIT_DENY, AUDIT_ALLOW = "audit_deny_", "audit_allow_"
"""How the statistics and metadata of rules on trial begin."""


def _network(config: v3.RBAC) -> v3.NetworkRBAC:
    """The filter for connections in place of that for requests."""
    network = v3.NetworkRBAC(
        stat_prefix=AUTHORIZATION_KEY, shadow_rules_stat_prefix=config.shadow_rules_stat_prefix
    )
    if config.HasField("rules"):
        network.rules.CopyFrom(config.rules)
    if config.HasField("shadow_rules"):
        network.shadow_rules.CopyFrom(config.shadow_rules)
    return network


def _policies(rules: Rules, place: Place, *, broad: bool) -> dict[str, v3.RBACPolicy]:
    built = {key: rbac.policy(rule, place, broad=broad) for key, rule in rules.items()}
    return {key: policy for key, policy in built.items() if policy is not None}
