"""`Rollout`: moves the traffic of a route from one backend to another, step by step, while guards hold."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from meshwright.control_plane.policies.base import Combine, ObjectName, OptionalObjectName, Policy, Spec
from meshwright.control_plane.policies.duration import Duration
from meshwright.control_plane.policies.field_types import check_distinct
from meshwright.control_plane.policies.httproute.backends import BackendObjectReference
from meshwright.control_plane.policies.httproute.matches import HTTPHeaderMatch

Percent = Annotated[int, Field(strict=True, ge=0, le=100)]


class RolloutRoute(Spec):
    """The route whose weights the rollout decides."""

    group: Literal["", "gateway.networking.k8s.io"] = Field(
        "", description="Accepted for Gateway API compatibility and ignored."
    )
    kind: Literal["HTTPRoute", "GRPCRoute"] = Field("HTTPRoute", description="The kind of the route.")
    name: ObjectName = Field(description="The route's name.")
    section_name: OptionalObjectName = Field(
        "", description="One rule, by its name. Omitted: every rule with the stable or canary backend."
    )

    @property
    def ref(self) -> str:
        """`Kind/name`."""
        return f"{self.kind}/{self.name}"


class RolloutStep(Spec):
    """One step: the canary's share, and how long it lasts."""

    weight: Percent | None = Field(
        None, description="Percentage of the requests that the canary responds to."
    )
    mirror: Percent | None = Field(
        None,
        description="In place of weight: percentage of requests copied to it, whose responses are dropped.",
    )
    pause: Duration | None = Field(
        None, description="How long the step lasts. Omitted: until `mesh rollout promote NAME`."
    )

    @model_validator(mode="after")
    def _one_share(self) -> Self:
        if (self.weight is None) == (self.mirror is None):
            raise ValueError("a step has either weight or mirror: set exactly one")
        if not (self.weight or self.mirror):
            raise ValueError("a step of 0 percent shows nothing about the canary: use at least 1")
        return self


class RolloutGuards(Spec):
    """What the canary must keep to. It is taken back at once when it does not."""

    success_rate: float | None = Field(
        None,
        gt=0,
        le=100,
        description="Percentage of the canary's requests that must succeed, unless the stable version fails "
        "as often at the same time.",
    )
    p99: Duration | None = Field(
        None,
        description="Highest 99th percentile of its latency, unless that of the stable version is higher.",
    )
    latency_ratio: float | None = Field(
        None, gt=1, le=1000, description="Highest ratio of its 99th percentile to that of the stable version."
    )
    min_requests: int = Field(
        20,
        strict=True,
        ge=1,
        le=1_000_000,
        description="Requests to the canary before a guard judges it, and before a step ends.",
    )
    window: Duration = Field(
        timedelta(seconds=60), description="The time that guards look at, within the step: 4s to 10m."
    )

    @field_validator("window")
    @classmethod
    def _within_history(cls, window: timedelta) -> timedelta:
        if not timedelta(seconds=4) <= window <= timedelta(minutes=10):
            raise ValueError("window is 4s to 10m: proxies report every 2s, and figures are kept for 15m")
        return window

    @model_validator(mode="after")
    def _any(self) -> Self:
        if self.success_rate is None and self.p99 is None and self.latency_ratio is None:
            raise ValueError("guards watch nothing: set successRate, p99 or latencyRatio")
        return self


class RolloutSpec(Spec):
    """The route, its two backends, the steps, and the guards."""

    route: RolloutRoute = Field(description="An HTTPRoute or GRPCRoute, whole or one rule.")
    stable: BackendObjectReference = Field(description="The backend that has the traffic today.")
    canary: BackendObjectReference = Field(description="The backend that is to have it.")
    testers: tuple[HTTPHeaderMatch, ...] = Field(
        (), max_length=16, description="Requests with all of these headers go to the canary from the start."
    )
    steps: tuple[RolloutStep, ...] = Field(
        min_length=1, max_length=32, description="In order: mirrors first, then growing weights."
    )
    guards: RolloutGuards | None = Field(
        None, description="What the canary must keep to. Omitted: steps end by time alone."
    )

    @model_validator(mode="after")
    def _two_backends(self) -> Self:
        if (self.stable.kind, self.stable.name, self.stable.port) == (
            self.canary.kind,
            self.canary.name,
            self.canary.port,
        ):
            raise ValueError(f"stable and canary are both {self.stable.kind} {self.stable.name}: name two")
        check_distinct((header.name.lower() for header in self.testers), "header")
        return self

    @field_validator("steps")
    @classmethod
    def _growing(cls, steps: tuple[RolloutStep, ...]) -> tuple[RolloutStep, ...]:
        for before, after in pairwise(steps):
            if before.weight is not None and after.mirror is not None:
                raise ValueError("a mirror comes after a weight: put mirrors first")
            if (after.weight or 101) <= (before.weight or 0):
                raise ValueError(f"weight {after.weight} comes after {before.weight}: weights grow")
        return steps


class Rollout(Policy):
    """Moves a route's traffic from a stable backend to a canary, step by step.

    The weights of the two in the route's rules are those of the current step; at the end the canary has all
    of their traffic, and after a failed guard the stable backend does. Each step is a revision. Where the
    rollout stands is in the document's annotations, which the control plane writes: applying the document
    again keeps it, and another route, stable or
    canary makes it another rollout. `mesh rollout` shows and steers it.
    """

    combine: ClassVar[Combine] = "resource"
    order: ClassVar[int] = 70

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["Rollout"] = Field(description="Always Rollout.")
    spec: RolloutSpec = Field(description="Route, backends, steps and guards.")
