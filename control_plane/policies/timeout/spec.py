"""Timeout: how long a request, each try of it, and idle time on it may take."""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from meshwright.control_plane.policies.base import Combine, TargetedPolicy, TargetedSpec
from meshwright.control_plane.policies.duration import Duration


def check_limits(request: timedelta | None, backend_request: timedelta | None) -> None:
    """Raise ValueError when a try may take longer than the request; zero is no limit."""
    if request and backend_request and backend_request > request:
        raise ValueError("backendRequest is longer than request, so it never ends a try: shorten it")


class TimeoutSpec(TargetedSpec):
    """Timeouts. `0s` means none; fields that are left out keep their defaults."""

    request: Duration | None = Field(
        None, description="The whole request including retries; 504 when it takes longer."
    )
    backend_request: Duration | None = Field(
        None, description="Each try. Without a Retry there is one try, and this limits it."
    )
    idle: Duration | None = Field(
        None, description="How long a request may go without a byte in either direction."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        check_limits(self.request, self.backend_request)
        return self


class Timeout(TargetedPolicy):
    """Ends requests that take too long with 504.

    The most specific policy applies: the `timeouts` of a route's rule, then route, service, mesh.
    """

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 200

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["Timeout"] = Field(description="Always Timeout.")
    spec: TimeoutSpec = Field(description="Targets and timeouts.")
