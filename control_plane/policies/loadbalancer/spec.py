"""LoadBalancer: which instance of a service gets a request."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from meshwright.control_plane.policies.base import (
    Combine,
    EndpointWeights,
    Spec,
    TargetedPolicy,
    TargetedSpec,
    TargetKind,
    TargetRef,
)
from meshwright.control_plane.policies.duration import Duration
from meshwright.control_plane.policies.field_types import HeaderName, LabelMap

if TYPE_CHECKING:
    from meshwright.control_plane.envoy import v3

Algorithm = Literal["RoundRobin", "LeastRequest", "Random", "RingHash", "Maglev"]
HASHING_ALGORITHMS, SLOW_START_ALGORITHMS = ("RingHash", "Maglev"), ("RoundRobin", "LeastRequest")

CookieName = Annotated[
    str, StringConstraints(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$")
]  # a token, as RFC 6265 section 4.1.1 has it
NonEmptyLabels = Annotated[tuple[tuple[str, str], ...], LabelMap(min_entries=1)]


class Cookie(Spec):
    """A cookie whose value is hashed."""

    name: CookieName = Field(description="The cookie's name.")
    ttl: Duration | None = Field(
        None,
        description="A caller without the cookie is given one for so long, 0s: until it closes. Left out: "
        "none is given, and requests without it go anywhere.",
    )


class HashOn(Spec):
    """What of a request decides: exactly one of header, cookie and sourceIP."""

    header: HeaderName | None = Field(None, description="The value of this header.")
    cookie: Cookie | None = Field(None, description="The value of this cookie.")
    source_ip: bool = Field(
        False,
        strict=True,
        alias="sourceIP",
        description="The client's address. Behind a sidecar every client is loopback, so it is for gateways: "
        "name them in from.",
    )

    @model_validator(mode="after")
    def _one(self) -> Self:
        if [self.header is not None, self.cookie is not None, self.source_ip].count(True) != 1:
            raise ValueError("requests are hashed on one thing: give one of header, cookie and sourceIP")
        return self


class SlowStart(Spec):
    """A new instance gets a tenth of its share at first, and more until the window is over."""

    window: Duration = Field(description="How long, at least 1s.")

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        if self.window < timedelta(seconds=1):
            raise ValueError("window is shorter than Envoy can keep: give at least 1s")
        return self


class LabelWeight(Spec):
    """The share of the instances that carry all of these labels."""

    labels: NonEmptyLabels = Field(description="Labels of instances, all of which must match.")
    weight: int = Field(
        strict=True,
        ge=1,
        le=1000,
        description="The share of each such instance; others have 1. To leave instances out, use a Subset.",
    )


class Locality(Spec):
    """Where requests go first."""

    prefer: Literal["Zone"] = Field(
        description="Zone: instances whose label `zone` is the caller's. Others get a share when less than "
        "72 % of those are healthy, and all when none is."
    )


class LoadBalancerSpec(TargetedSpec):
    """How each caller's sidecar chooses among the instances."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset({"Mesh", "Service"})

    algorithm: Algorithm = Field(
        "LeastRequest",
        description="RoundRobin: in turn. LeastRequest: of two at random the one with fewer requests. "
        "Random. RingHash and Maglev: by hashOn, so that one key stays with one instance; when one of ten "
        "goes, RingHash moves about a tenth of the other instances' keys too, Maglev hardly any.",
    )
    hash_on: HashOn | None = Field(None, description="What RingHash and Maglev decide by.")
    slow_start: SlowStart | None = Field(
        None, description="Spare new instances, with RoundRobin and LeastRequest."
    )
    weights: tuple[LabelWeight, ...] = Field(
        (), max_length=64, description="Shares by instance labels; the first that matches holds."
    )
    locality: Locality | None = Field(None, description="Prefer instances that are near.")

    @model_validator(mode="after")
    def _suited(self) -> Self:
        if self.algorithm in HASHING_ALGORITHMS and self.hash_on is None:
            raise ValueError(f"{self.algorithm} needs something to decide by: give hashOn")
        if self.algorithm not in HASHING_ALGORITHMS and self.hash_on is not None:
            raise ValueError(f"{self.algorithm} does not hash: leave hashOn out, or use RingHash or Maglev")
        if self.algorithm not in SLOW_START_ALGORITHMS and self.slow_start is not None:
            raise ValueError(f"{self.algorithm} has no slow start: use RoundRobin or LeastRequest")
        if self.algorithm == "Random" and self.weights:
            raise ValueError("Random knows no weights: use RoundRobin, LeastRequest, RingHash or Maglev")
        return self

    def inapplicable_reason(self, target: TargetRef) -> str:  # noqa: ARG002  it is the same for every target
        """Behind a sidecar all requests come from loopback."""
        if self.hash_on is not None and self.hash_on.source_ip and not self.from_:
            return "sourceIP behind a sidecar is always loopback: name gateways in from, or hash on a header"
        return ""

    def patch_route(self, route: v3.Route) -> list[v3.Route]:
        """Say on a forwarding route what is hashed."""
        if self.hash_on is not None and route.HasField("route"):
            _hash(self.hash_on, route.route.hash_policy.add())
        return [route]

    def patch_cluster(self, cluster: v3.Cluster) -> None:
        """Choose the algorithm; LeastRequest without slow start is what clusters have anyway."""
        if self.algorithm == "LeastRequest" and self.slow_start is None:
            return
        from meshwright.control_plane.policies.loadbalancer import envoy  # noqa: PLC0415  validating needs no Envoy

        envoy.configure(self, cluster)

    def endpoint_weights(self) -> EndpointWeights | None:
        """Weights and locality, which travel with the endpoints."""
        if not self.weights and self.locality is None:
            return None
        weights = tuple((one.labels, one.weight) for one in self.weights)
        return EndpointWeights(weights, prefer_local_zone=self.locality is not None)


def _hash(on: HashOn, policy: v3.RouteAction.HashPolicy) -> None:
    if on.header is not None:
        policy.header.header_name = on.header.lower()
    elif on.cookie is not None:
        policy.cookie.name = on.cookie.name
        if on.cookie.ttl is not None:
            policy.cookie.ttl.FromTimedelta(on.cookie.ttl)
            policy.cookie.path = "/"
    else:
        policy.connection_properties.source_ip = True


class LoadBalancer(TargetedPolicy):
    """Says which instance of a service gets a request.

    Each caller's sidecar chooses by itself. Changing weights, or where instances run, keeps connections and
    what a CircuitBreaker has learned; changing the algorithm or slowStart does not. `hashOn` is taken from
    the service that is called. The most specific one wins whole: for the service, then for the mesh.
    """

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 600

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["LoadBalancer"] = Field(description="Always LoadBalancer.")
    spec: LoadBalancerSpec = Field(description="Where it applies and how instances are chosen.")
