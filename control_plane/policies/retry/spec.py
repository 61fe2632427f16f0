"""Retry: when a failed request is sent again, how often, and how many of them at once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from meshwright.control_plane.policies.base import Combine, Spec, TargetedPolicy, TargetedSpec, TargetRef
from meshwright.control_plane.policies.duration import Duration
from meshwright.control_plane.policies.retry import envoy

if TYPE_CHECKING:
    from meshwright.control_plane.envoy import v3

RetryConditionName = Literal[
    "5xx", "gateway-error", "reset", "connect-failure", "refused-stream", "retriable-4xx",
    "cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
]  # fmt: skip
"""Envoy's names: HTTP conditions first, gRPC statuses after."""


def _condition(value: Any) -> str | int:
    if isinstance(value, str) and value in get_args(RetryConditionName):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599:
        return value
    raise ValueError(
        f"{value!r} is no failure: use a status from 400 to 599 or {', '.join(get_args(RetryConditionName))}"
    )


RetryCondition = Annotated[
    str | int,
    BeforeValidator(_condition),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(get_args(RetryConditionName))},
                {"type": "integer", "minimum": 400, "maximum": 599},
            ]
        }
    ),
]


class RetryBackoff(Spec):
    """Waiting time before a retry: random, up to base, 3 base, 7 base and so on, never above max."""

    base: Duration = Field(timedelta(milliseconds=25), description="The scale of the first wait, above 0s.")
    max: Duration = Field(timedelta(milliseconds=250), description="No wait is longer; at least base.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.base:
            raise ValueError("base is 0s, and a retry storm would follow: give at least 1ms")
        if self.max < self.base:
            raise ValueError("max is below base: make it at least as long")
        return self


class RetryBudget(Spec):
    """How many retries may be under way at once towards the destination, counted in each caller's sidecar."""

    percent: float = Field(
        20.0,
        strict=True,
        ge=0,
        le=100,
        description="Retries as a share of the requests under way, in percent.",
    )
    min_concurrency: int = Field(
        20, strict=True, ge=0, le=100_000, description="So many retries are always allowed."
    )


class RetrySpec(TargetedSpec):
    """When and how often to try again."""

    attempts: int = Field(
        2, strict=True, ge=0, le=10, description="Retries after the first try; 0 turns retries off."
    )
    on: tuple[RetryCondition, ...] = Field(
        ("gateway-error", "reset", "connect-failure", "refused-stream"),
        min_length=1,
        max_length=32,
        description="Failures that are retried: a name, a status code (400 to 599) or a gRPC status.",
    )
    backoff: RetryBackoff = Field(RetryBackoff(), description="The wait before a retry.")
    per_try_timeout: Duration | None = Field(
        None, description="The limit of each try. Where a Timeout has backendRequest, the shorter one holds."
    )
    hedge_on_per_try_timeout: bool = Field(
        False,
        strict=True,
        description="A try that reaches perTryTimeout goes on while the next one is sent, and the first good "
        "answer wins. Only for requests that may be repeated.",
    )
    budget: RetryBudget = Field(
        RetryBudget(), description="The limit that keeps retries from becoming a storm."
    )

    @field_validator("on")
    @classmethod
    def _distinct(cls, on: tuple[str | int, ...]) -> tuple[str | int, ...]:
        if len(set(on)) < len(on):
            raise ValueError("a failure is named twice: name each once")
        return on

    @model_validator(mode="after")
    def _hedged(self) -> Self:
        if self.hedge_on_per_try_timeout and not (self.per_try_timeout and self.attempts):
            raise ValueError(
                "hedgeOnPerTryTimeout sends another try at perTryTimeout: "
                "give perTryTimeout and attempts above 0"
            )
        return self

    def inapplicable_reason(self, target: TargetRef) -> str:
        """A budget is counted by destination, so a route cannot have one of its own."""
        if target.kind in ("HTTPRoute", "GRPCRoute") and "budget" in self.model_fields_set:
            return "budget is kept for the whole destination, not a route: give it in a Retry for the Service"
        return ""

    def patch_route(self, route: v3.Route) -> list[v3.Route]:
        """Split the route by what may be repeated; see `routes.split`."""
        return envoy.split_by_safety(self, route)

    def patch_cluster(self, cluster: v3.Cluster) -> None:
        """Put the budget in the default priority's thresholds; it replaces the limit of `max_retries`."""
        thresholds = cluster.circuit_breakers.thresholds
        found = next((one for one in thresholds if one.priority == 0), None)
        budget = (found or thresholds.add()).retry_budget
        budget.budget_percent.value = self.budget.percent
        budget.min_retry_concurrency.value = self.budget.min_concurrency


class Retry(TargetedPolicy):
    """Sends failed requests again, within a budget.

    A request that was sent is repeated only when its method is idempotent (GET, HEAD, OPTIONS, TRACE, PUT,
    DELETE) or it carries `Idempotency-Key`. Any other is retried only when it cannot have been sent: on
    connect-failure and refused-stream.

    A gRPC call counts among the others, unless `on` names a gRPC status: that says of all calls it is in
    force for that they may be repeated, and they are, on everything that `on` names. With unavailable that
    includes broken connections, with deadline-exceeded tries that perTryTimeout ended. A status that comes
    after the answer has begun is too late.

    The most specific Retry wins whole: the `retry` of a route's rule, then one for the route, for the
    service, for the mesh.
    """

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 300

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["Retry"] = Field(description="Always Retry.")
    spec: RetrySpec = Field(description="Where it applies and what is retried.")
