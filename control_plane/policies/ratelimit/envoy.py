"""RateLimit as Envoy's filters for local and for global rate limits.

Local: all routes of a proxy share the buckets. The filter's configuration is one resource for each proxy
(ECDS), with a bucket, or one for each value of the keys, for every limit (local.py). The metadata of a route
says which limits apply there, so a limit has one bucket however many routes it covers. A change of policies
fills the buckets; a change of routes does not. Envoy's filter enforces all of its buckets or none, so
policies in audit have a filter of their own.

Global: a route says what to ask the control plane about (limits/service.py). What happens without an answer
is a setting of Envoy's filter, so there is one for each `onFailure`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from google.protobuf.message import Message

from meshwright.control_plane.api.resource_metadata import METADATA_KEY
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.hooks import (
    FilterEntry,
    FilterPhase,
    Hooks,
    ListenerDirection,
    Symptom,
)
from meshwright.control_plane.policies.jwtauthentication.envoy import JWTAuthenticationHooks, tokens_of
from meshwright.control_plane.policies.ratelimit import global_filter, local_filter, route_metadata
from meshwright.control_plane.policies.ratelimit.local_filter import LOCAL, LOCAL_AUDIT
from meshwright.control_plane.policies.ratelimit.route_metadata import ENFORCED_KEY
from meshwright.control_plane.policies.ratelimit.spec import RateLimitSpec
from meshwright.control_plane.policies.reply_reason import Reason

LIMITED_FLAG, UNCOUNTED_FLAG = "RL", "RLSE"
"""Envoy's response flags of a request that a limit refused, and of one that could not be counted."""

LOCAL_DETAILS, GLOBAL_DETAILS, UNCOUNTED_DETAILS = (
    "local_rate_limited",
    "request_rate_limited",
    "rate_limiter_error",
)

_LIMITED = "there are more requests than a limit lets through"
_UNCOUNTED = "the control plane did not count the request for its global limit (onFailure: deny)"
_POLICIES = f"refused by %METADATA(ROUTE:{METADATA_KEY}:{ENFORCED_KEY})% (%RESPONSE_CODE_DETAILS%)"
_BEGIN = "mesh: too many requests"


class RateLimitHooks(Hooks[RateLimitSpec]):
    """The filters at gateways, and at the sidecars of services that a policy targets or that call outside."""

    reads: ClassVar[tuple[str, ...]] = ("JWTAuthentication",)
    explains: ClassVar[tuple[Symptom, ...]] = (
        Symptom(LIMITED_FLAG, ("limits",), statistic="mesh.rate_limited"),
        Symptom(UNCOUNTED_FLAG, ("onFailure",)),
    )
    reply_reasons: ClassVar[tuple[Reason, ...]] = (
        Reason((LOCAL_DETAILS,), _LIMITED, body=f"{_BEGIN}: {_POLICIES}"),
        # The control plane names the policy and the limit (limits/table.py).
        Reason(
            (GLOBAL_DETAILS,),
            body=f"{_BEGIN}: %LOCAL_REPLY_BODY% (%RESPONSE_CODE_DETAILS%)",
            causes=(("", _LIMITED),),
        ),
        Reason((UNCOUNTED_DETAILS,), _UNCOUNTED, body=f"mesh: {_UNCOUNTED}: {_POLICIES}"),
    )

    @classmethod
    def shared_filters(cls, direction: ListenerDirection) -> Sequence[FilterEntry]:  # noqa: ARG003
        """At gateways, at the sidecars of a destination, and at those that call hosts outside the mesh."""
        names = (LOCAL, LOCAL_AUDIT)
        return [(FilterPhase.RATE_LIMIT, name, local_filter.without_buckets(name)) for name in names]

    @classmethod
    def route_filters(cls, direction: ListenerDirection) -> Sequence[FilterEntry]:  # noqa: ARG003
        """As the shared filters."""
        names = (global_filter.ALLOW, global_filter.DENY)
        return [(FilterPhase.RATE_LIMIT, name, global_filter.unconfigured(name)) for name in names]

    @classmethod
    def shared_config(
        cls,
        name: str,
        combinations: Sequence[Sequence[Hooks[Any]]],
        clusters: Mapping[str, str],  # noqa: ARG003
    ) -> Message:
        """The buckets of every policy that this filter enforces, or counts only."""
        specs: dict[str, RateLimitSpec] = {}
        tokens: dict[str, set[str]] = {}
        for members in combinations:
            verified = [hooks for hooks in members if isinstance(hooks, JWTAuthenticationHooks)]
            for hooks in members:
                if isinstance(hooks, RateLimitHooks) and hooks.local_filter == name:
                    specs[hooks.policy] = hooks.spec
                    here = (token for other in verified for token in other.tokens)
                    tokens.setdefault(hooks.policy, set()).update(here)
        config = local_filter.without_buckets(name)
        for policy, spec in sorted(specs.items()):
            local_filter.add_buckets(config, policy, spec, sorted(tokens[policy]))
        return config

    @classmethod
    def merged_config(cls, old: bytes, new: bytes) -> bytes:  # noqa: ARG003
        """The new one: Envoy rejects a bucket that is there twice, and a limit without a bucket passes."""
        return new

    @property
    def policy(self) -> str:
        """The name of the document."""
        return self.ref.partition("/")[2]

    @property
    def local_filter(self) -> str:
        """The filter that has the policy's buckets; empty for a global one."""
        if self.spec.scope == "global":
            return ""
        return LOCAL if self.spec.enforcement == "enforce" else LOCAL_AUDIT

    def patch_gateway_route(self, route: v3.Route) -> list[v3.Route]:
        """Limit the requests of a gateway's route, or those of a sidecar to a host outside the mesh."""
        return [self._limited(route)]

    def patch_inbound_route(self, route: v3.Route) -> list[v3.Route]:
        """Limit the requests of all callers of the service."""
        return [self._limited(route)]

    def _limited(self, route: v3.Route) -> v3.Route:
        if not route.HasField("route"):
            return route
        route_metadata.note_policy(route, self.ref, self.spec)
        if self.spec.scope == "global":
            global_filter.add_limits(route, self.policy, self.spec, tokens_of(route))
            return route
        route_metadata.note_local_limits(route, self.policy, self.spec)
        # An empty configuration only enables the filter.
        enabled = codec.pack(v3.RouteFilterConfig(config=v3.Any()))
        route.typed_per_filter_config[self.local_filter].CopyFrom(enabled)
        return route
