"""LoadBalancer: which instance of a service gets a request."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from meshwright.control_plane.policies.base import (
    Combine,
    Spec,
    TargetedPolicy,
    TargetedSpec,
    TargetKind,
    TargetRef,
)
from meshwright.control_plane.policies.duration import Duration
from meshwright.control_plane.policies.field_types import HeaderName, LabelMap

Algorithm = Literal["RoundRobin", "LeastRequest", "Random", "RingHash", "Maglev"]
HASHING_ALGORITHMS, SLOW_START_ALGORITHMS = ("RingHash", "Maglev"), ("RoundRobin", "LeastRequest")

CookieName = Annotated[
    str, StringConstraints(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$")
]  # a token of RFC 6265 section 4.1.1
NonEmptyLabels = Annotated[tuple[tuple[str, str], ...], LabelMap(min_entries=1)]


class Cookie(Spec):
    """A cookie whose value is hashed."""

    name: CookieName = Field(description="The cookie's name.")
    ttl: Duration | None = Field(
        None,
        description="Lifetime of the cookie that a caller without one is given; 0s: a session cookie. "
        "Omitted: no cookie is set, and requests without it go to any instance.",
    )


class HashOn(Spec):
    """What is hashed: exactly one of header, cookie and sourceIP."""

    header: HeaderName | None = Field(None, description="The value of this header.")
    cookie: Cookie | None = Field(None, description="The value of this cookie.")
    source_ip: bool = Field(
        False,
        strict=True,
        alias="sourceIP",
        description="The client's address. Behind a sidecar every client is loopback, so this is for "
        "gateways: list them in from.",
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if [self.header is not None, self.cookie is not None, self.source_ip].count(True) != 1:
            raise ValueError("requests are hashed on one key: set one of header, cookie and sourceIP")
        return self


class SlowStart(Spec):
    """A new instance starts with a tenth of its share, which grows until the window ends."""

    window: Duration = Field(description="Length of the window, at least 1s.")

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        if self.window < timedelta(seconds=1):
            raise ValueError("window is shorter than Envoy supports: use at least 1s")
        return self


class LabelWeight(Spec):
    """The weight of the instances that carry all of these labels."""

    labels: NonEmptyLabels = Field(description="Instance labels, all of which must match.")
    weight: int = Field(
        strict=True,
        ge=1,
        le=1000,
        description="The weight of each such instance; others have 1. To exclude instances, use a Subset.",
    )


class LocalityPreference(Spec):
    """Where requests go first."""

    prefer: Literal["Zone"] = Field(
        description="Zone: instances whose label `zone` equals the caller's. Others get a share when less "
        "than 72 % of those are healthy, and everything when none is."
    )


class LoadBalancerSpec(TargetedSpec):
    """How each caller's sidecar picks an instance."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset({"Mesh", "Service", "ExternalService"})

    algorithm: Algorithm = Field(
        "LeastRequest",
        description="RoundRobin: in turn. LeastRequest: the one with fewer requests of two random instances. "
        "Random. RingHash and Maglev: by hashOn, so that requests with one key stay with one instance. "
        "When one of ten instances goes, RingHash also moves about a tenth of the others' keys, Maglev "
        "hardly any.",
    )
    hash_on: HashOn | None = Field(None, description="What RingHash and Maglev hash.")
    slow_start: SlowStart | None = Field(
        None, description="Ramp up new instances, with RoundRobin and LeastRequest."
    )
    weights: tuple[LabelWeight, ...] = Field(
        (), max_length=64, description="Weights by instance labels; the first match applies."
    )
    locality: LocalityPreference | None = Field(None, description="Prefer instances that are close.")
    all_unhealthy: Literal["Send", "Refuse"] = Field(
        "Send",
        description="When no instance is healthy. Send: requests go to all instances that listen but fail "
        "their agent's health check. Refuse: 503. Instances that a circuit breaker ejected, that drain, "
        "start or have ended never get requests.",
    )

    @model_validator(mode="after")
    def _valid_combination(self) -> Self:
        if self.algorithm in HASHING_ALGORITHMS and self.hash_on is None:
            raise ValueError(f"{self.algorithm} needs a key to hash: set hashOn")
        if self.algorithm not in HASHING_ALGORITHMS and self.hash_on is not None:
            raise ValueError(f"{self.algorithm} does not hash: leave hashOn out, or use RingHash or Maglev")
        if self.algorithm not in SLOW_START_ALGORITHMS and self.slow_start is not None:
            raise ValueError(f"{self.algorithm} has no slow start: use RoundRobin or LeastRequest")
        if self.algorithm == "Random" and self.weights:
            raise ValueError("Random ignores weights: use RoundRobin, LeastRequest, RingHash or Maglev")
        return self

    def inapplicable_reason(self, target: TargetRef) -> str:  # noqa: ARG002  the same for every target
        """Behind a sidecar every request comes from loopback."""
        if self.hash_on is not None and self.hash_on.source_ip and not self.from_:
            return "sourceIP behind a sidecar is always loopback: list gateways in from, or hash a header"
        return ""


class LoadBalancer(TargetedPolicy):
    """Decides which instance of a service gets a request.

    Each caller's sidecar decides separately. Changing weights, or where instances run, keeps connections and
    ejections; changing the algorithm or slowStart does not. `hashOn` comes from the policy of the called
    service. The most specific policy applies: service, then mesh.
    """

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 600

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["LoadBalancer"] = Field(description="Always LoadBalancer.")
    spec: LoadBalancerSpec = Field(description="Targets and algorithm.")
