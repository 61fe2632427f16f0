"""The global limits of the policies, by the descriptors that proxies send. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core.world import PolicyDocument
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.duration import render
from meshwright.control_plane.policies.ratelimit import descriptors
from meshwright.control_plane.policies.ratelimit.route_metadata import AUDIT_HEADER
from meshwright.control_plane.policies.ratelimit.spec import Limit, RateLimit
from meshwright.control_plane.store.limit_counters import Bucket, Grant

KEY_BYTES = 12
"""Of the hash that stands for a key's values: a million keys collide once in 10^17."""


@dataclass(frozen=True, slots=True)
class GlobalLimit:
    """One limit of a policy."""

    id: str
    policy: RateLimit
    limit: Limit

    @property
    def audited(self) -> bool:
        """Whether requests beyond it pass."""
        return self.policy.spec.enforcement == "audit"

    def may_count(self, identity: Identity) -> bool:
        """Whether a proxy of this identity enforces the limit: no other one may use it up."""
        for ref in self.policy.spec.target_refs:
            match ref.kind:
                case "Mesh":
                    allowed = identity.role == "service"
                case "Service":
                    allowed = identity.role == "service" and identity.name == ref.name
                case "ExternalService":
                    allowed = identity.role in ("service", "gateway")
                case "Gateway":
                    allowed = identity.role == "gateway" and identity.name == ref.name
                case _:
                    allowed = identity.role == "gateway"
            if allowed:
                return True
        return False

    def bucket(self, values: Iterable[str]) -> Bucket:
        """The bucket of these values of the keys."""
        digest = hashlib.blake2b("\0".join(values).encode(), digest_size=KEY_BYTES)
        interval = self.limit.per.total_seconds() * 1000 / self.limit.requests
        return Bucket(self.id, digest.hexdigest(), interval, self.limit.most_at_once)

    def __str__(self) -> str:
        return f"{self.policy.ref}, {self.limit.requests} in {render(self.limit.per)}"


class LimitTable:
    """The global limits of some documents; of two of the same name the last one counts."""

    def __init__(self, documents: Iterable[PolicyDocument]) -> None:
        self._limits = {
            limit.id: limit
            for document in documents
            if isinstance(policy := document.policy, RateLimit) and policy.spec.scope == "global"
            for limit in _limits(policy)
        }

    def find(
        self, descriptor: v3.RateLimitDescriptor, identity: Identity
    ) -> tuple[GlobalLimit, Bucket] | None:
        """The limit of a descriptor, if this proxy enforces it, and the bucket of the request."""
        first, *others = descriptor.entries or (v3.RateLimitDescriptor.Entry(),)
        limit = self._limits.get(first.value) if first.key == descriptors.POLICY_KEY else None
        if limit is None or not limit.may_count(identity):
            return None
        return limit, limit.bucket(entry.value for entry in others)


def _limits(policy: RateLimit) -> Iterable[GlobalLimit]:
    for index, limit in enumerate(policy.spec.limits):
        yield GlobalLimit(descriptors.limit_id(policy.name, index), policy, limit)


def answer(results: Sequence[tuple[GlobalLimit, Grant] | None]) -> v3.RateLimitResponse:
    """The response to a proxy; None stands for a descriptor that no limit has."""
    codes = v3.RateLimitResponse
    response = v3.RateLimitResponse(overall_code=codes.OK)
    refusing: list[tuple[GlobalLimit, Grant]] = []
    audited: list[str] = []
    for result in results:
        status = response.statuses.add(code=codes.OK)
        if result is None:
            continue
        limit, grant = result
        if not limit.audited:
            status.current_limit.requests_per_unit = limit.limit.most_at_once
            status.limit_remaining = max(grant.left, 0)
            status.duration_until_reset.FromMilliseconds(grant.full_in_ms)
        if not grant.granted and limit.audited:
            audited.append(limit.policy.ref)
        elif not grant.granted:
            status.code = codes.OVER_LIMIT
            refusing.append(result)
    if refusing:
        limit, grant = max(refusing, key=lambda entry: entry[1].next_in_ms)
        response.overall_code = codes.OVER_LIMIT
        response.response_headers_to_add.add(
            key="retry-after", value=str(max(1, ceil(grant.next_in_ms / 1000)))
        )
        response.raw_body = f"refused by {limit}".encode()
    elif audited:
        response.request_headers_to_add.add(key=AUDIT_HEADER, value=", ".join(dict.fromkeys(audited)))
    return response
