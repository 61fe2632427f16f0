"""Retry: when a failed request is sent again, how often, and how many retries may be in flight."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator, model_validator

from meshwright.control_plane.policies.base import Combine, Spec, TargetedPolicy, TargetedSpec, TargetRef
from meshwright.control_plane.policies.duration import Duration

RetryConditionName = Literal[
    "5xx", "gateway-error", "reset", "connect-failure", "refused-stream", "retriable-4xx",
    "cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable",
]  # fmt: skip
"""Envoy's names: HTTP conditions, then gRPC statuses."""


def _condition(value: Any) -> str | int:
    if isinstance(value, str) and value in get_args(RetryConditionName):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599:
        return value
    raise ValueError(
        f"{value!r} is not a valid condition: use a status from 400 to 599 or "
        f"{', '.join(get_args(RetryConditionName))}"
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
    """The wait before a retry: random, up to base, 3 base, 7 base and so on, never above max."""

    base: Duration = Field(timedelta(milliseconds=25), description="Base interval, above 0s.")
    max: Duration = Field(timedelta(milliseconds=250), description="Longest wait; at least base.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.base:
            raise ValueError("base is 0s, which causes retry storms: use at least 1ms")
        if self.max < self.base:
            raise ValueError("max is below base: make it at least as long")
        return self


class RetryBudget(Spec):
    """How many retries to the destination may be in flight, counted in each caller's sidecar."""

    percent: float = Field(
        20.0,
        strict=True,
        ge=0,
        le=100,
        description="Retries as a percentage of the requests in flight.",
    )
    min_concurrency: int = Field(
        20, strict=True, ge=0, le=100_000, description="This many retries are always allowed."
    )


class RetrySpec(TargetedSpec):
    """When and how often to retry."""

    attempts: int = Field(
        2, strict=True, ge=0, le=10, description="Retries after the first try; 0 turns retries off."
    )
    on: tuple[RetryCondition, ...] = Field(
        ("gateway-error", "reset", "connect-failure", "refused-stream"),
        min_length=1,
        max_length=32,
        description="Failures to retry: a condition's name, a status code (400 to 599) or a gRPC status.",
    )
    backoff: RetryBackoff = Field(RetryBackoff(), description="The wait before a retry.")
    per_try_timeout: Duration | None = Field(
        None, description="Timeout of each try. If a Timeout sets backendRequest, the shorter one applies."
    )
    hedge_on_per_try_timeout: bool = Field(
        False,
        strict=True,
        description="A try that reaches perTryTimeout continues while the next one is sent; the first good "
        "response wins. Only for requests that are safe to repeat.",
    )
    budget: RetryBudget = Field(RetryBudget(), description="The limit that prevents retry storms.")

    @field_validator("on")
    @classmethod
    def _distinct(cls, on: tuple[str | int, ...]) -> tuple[str | int, ...]:
        if len(set(on)) < len(on):
            raise ValueError("a condition is listed twice: list each once")
        return on

    @model_validator(mode="after")
    def _valid_hedging(self) -> Self:
        if self.hedge_on_per_try_timeout and not (self.per_try_timeout and self.attempts):
            raise ValueError(
                "hedgeOnPerTryTimeout sends another try at perTryTimeout: "
                "set perTryTimeout and attempts above 0"
            )
        return self

    def inapplicable_reason(self, target: TargetRef) -> str:
        """A budget is counted per destination, so a route cannot have its own."""
        if target.kind in ("HTTPRoute", "GRPCRoute") and "budget" in self.model_fields_set:
            return "budget applies to the whole destination, not a route: set it in a Retry for the Service"
        return ""


class Retry(TargetedPolicy):
    """Retries failed requests, within a budget.

    A request that may have been sent is retried only when its method is idempotent (GET, HEAD, OPTIONS,
    TRACE, PUT, DELETE) or it carries `Idempotency-Key`. Any other request is retried only when it cannot have
    been sent: on connect-failure and refused-stream.

    gRPC calls are such other requests, unless `on` lists a gRPC status: that declares every call to which the
    policy applies safe to repeat, and they are retried on everything in `on`. unavailable then includes
    broken connections, deadline-exceeded includes tries that perTryTimeout ended. A status that arrives after
    the response has begun is too late.

    The most specific policy applies: the `retry` of a route's rule, then route, service, mesh. Where none
    applies, requests that were never sent (connect-failure, refused-stream) are retried twice, on other
    instances if there are any. `attempts: 0` turns that off too.
    """

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 300

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["Retry"] = Field(description="Always Retry.")
    spec: RetrySpec = Field(description="Targets and what is retried.")
