"""The file of `mesh test`: stub services and their responses, requests, and what is expected of each."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from meshwright.control_plane.api.models.base import Name
from meshwright.control_plane.policies.base import Combine, Policy, Spec
from meshwright.control_plane.policies.duration import Duration
from meshwright.control_plane.policies.field_types import (
    HeaderName,
    Labels,
    PortNumber,
    PreciseHostname,
    check_distinct,
)

MAX_TIMES = 2000
"""Requests of one case: a few seconds' worth."""

MIN_REQUESTS_FOR_SHARES = 20

Method = Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,32}$")]
RequestPath = Annotated[str, StringConstraints(max_length=4096, pattern=r"^/[^\s#]*$")]
HeaderText = Annotated[str, StringConstraints(max_length=8192, pattern=r"^[^\x00-\x08\x0a-\x1f\x7f]*$")]
Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Body = Annotated[str, StringConstraints(max_length=1 << 16)]
Status = Annotated[int, Field(strict=True, ge=200, le=599)]
Times = Annotated[int, Field(strict=True, ge=1, le=MAX_TIMES)]
Share = Annotated[float, Field(ge=0, le=100)]


class TestedService(Spec):
    """A service, or some of its instances: entries of one name are instances with other labels."""

    name: Name = Field(description="Name that callers use: http://NAME/.")
    labels: Labels = Field((), max_length=32, description="Labels that a Subset can select.")
    replicas: int = Field(1, strict=True, ge=0, le=10, description="Instances; 0: a service without any.")
    port: PortNumber = Field(80, description="Port that callers and routes use. Port 80 always works.")


class CaseCaller(Spec):
    """Where a request begins. Set one."""

    service: Name | None = Field(None, description="A service: the request leaves through its sidecar.")
    gateway: Name | None = Field(None, description="A gateway: the request comes from outside the mesh.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.service is None) == (self.gateway is None):
            raise ValueError("a request begins at a service or at a gateway: set one of them")
        return self

    @property
    def name(self) -> str:
        """The service or the gateway."""
        return self.service or self.gateway or ""


class CaseRequest(Spec):
    """The request of a case."""

    method: Method = Field("GET", description="The method.")
    host: PreciseHostname = Field(
        "localhost", description="The host: for a service the one that it calls, such as orders."
    )
    port: PortNumber | None = Field(None, description="The port of the host, if it is not 80.")
    path: RequestPath = Field("/", description="The path, with a query if there is one.")
    headers: dict[HeaderName, HeaderText] = Field(default_factory=dict, description="Headers to send.")
    body: Body = Field("", description="The body.")
    claims: dict[str, Any] | None = Field(
        None,
        max_length=64,
        description="Claims of a JSON Web Token, which is sent where its issuer expects it. It is valid for "
        "an hour unless `exp` says otherwise, and of the policies' only issuer unless `iss` does; a claim "
        "that is null is left out.",
    )


class PlayedResponse(Spec):
    """The response of a service in one case. Services without one respond 200 with an echo of the request."""

    name: Name = Field(description="The service, or a Subset of one.")
    status: Status = Field(200, description="The status.")
    headers: dict[HeaderName, HeaderText] = Field(default_factory=dict, description="Headers to add.")
    body: Body | None = Field(None, description="The body. Default: the request as JSON.")
    delay: Duration = Field(timedelta(0), le=timedelta(minutes=1), description="Time until it responds.")
    reset: bool = Field(False, description="Close the connection instead of answering.")
    times: Times | None = Field(
        None, description="Only for the first so many requests of the case. Default: for all."
    )


class Expectation(Spec):
    """What must hold for each request of a case. What is left out is not checked."""

    status: Status | None = Field(None, description="The status that the caller gets.")
    answered_by: Name | None = Field(None, description="The service that responds, or a Subset of one.")
    refused_by: Text | None = Field(
        None,
        description="The mesh itself responds, and this is part of the reason in the body: a policy such as "
        "Authorization/orders, or words of Envoy such as no_healthy_upstream.",
    )
    path: RequestPath | None = Field(None, description="The path that the service gets.")
    request_headers: dict[HeaderName, HeaderText | None] = Field(
        default_factory=dict, description="Headers that the service gets; null: it does not get this one."
    )
    response_headers: dict[HeaderName, HeaderText | None] = Field(
        default_factory=dict, description="Headers that the caller gets; null: it does not get this one."
    )
    body: Text | None = Field(None, description="Part of the body that the caller gets.")
    attempts: int | None = Field(
        None, strict=True, ge=0, le=100, description="Requests that services get for one of the caller's."
    )
    mirrored_to: Name | None = Field(None, description="A service, or a Subset, that gets a copy.")
    limited_after: int | None = Field(
        None,
        strict=True,
        ge=0,
        lt=MAX_TIMES,
        description="So many requests of the case pass and the next one gets 429. The rest of what is "
        "expected is about those that pass.",
    )
    shares: dict[Name, Share] = Field(
        default_factory=dict,
        max_length=32,
        description="The percentage of the requests that each service or Subset serves.",
    )
    tolerance: Share | None = Field(
        None,
        description="How far a share may be off, in percentage points. Default: 4 standard deviations, which "
        "a correct weight exceeds once in 16,000 runs.",
    )

    @model_validator(mode="after")
    def _expects_something(self) -> Self:
        if not self.model_fields_set - {"tolerance"}:
            raise ValueError("expects nothing: set at least one field, such as status")
        if self.tolerance is not None and not self.shares:
            raise ValueError("tolerance belongs to shares: add them, or leave it out")
        if self.answered_by and self.refused_by:
            raise ValueError("answeredBy and refusedBy exclude each other: keep one")
        return self


class PolicyCase(Spec):
    """A request, sent once or several times, and what is expected of it."""

    name: Text = Field(description="What the case shows, in words.")
    from_: CaseCaller = Field(alias="from", description="Where the request begins.")
    request: CaseRequest = Field(CaseRequest(), description="The request.")
    times: Times = Field(1, description="How often it is sent, one after the other.")
    respond: tuple[PlayedResponse, ...] = Field(
        (), max_length=32, description="Responses of services; the first entry that applies counts."
    )
    expect: Expectation = Field(description="What must hold.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.from_.service and "host" not in self.request.model_fields_set:
            raise ValueError("request.host is missing: name the service that is called")
        limited = self.expect.limited_after
        if limited is not None and self.times <= limited:
            raise ValueError(
                f"limitedAfter: {limited} needs more requests: set times to {limited + 1} or more"
            )
        if self.expect.shares and self.times < MIN_REQUESTS_FOR_SHARES:
            raise ValueError(f"shares need requests: set times to {MIN_REQUESTS_FOR_SHARES} or more")
        return self


class PolicyTestSpec(Spec):
    """Policies, services and cases."""

    policies: tuple[str, ...] = Field(
        (), max_length=64, description="Files or folders, relative to this file. -f replaces them."
    )
    services: tuple[TestedService, ...] = Field(
        (),
        max_length=100,
        description="Services with labels, replicas or ports. Others that the cases and the policies name "
        "have an instance for each of their Subsets, or one.",
    )
    cases: tuple[PolicyCase, ...] = Field(
        min_length=1, max_length=500, description="The cases, run in order."
    )

    @model_validator(mode="after")
    def _distinct_names(self) -> Self:
        check_distinct((case.name for case in self.cases), "case")
        return self


class PolicyTest(Policy):
    """Cases that `mesh test` runs against real Envoys: a request each, and what the policies make of it.

    No mesh is needed or touched. Every service is a stub in the command, which responds as a case says and
    remembers what it got. The cases share one mesh and run in order, so that what limits have counted and
    breakers have opened in one case is still so in the next.
    """

    combine: ClassVar[Combine] = "resource"

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["PolicyTest"] = Field(description="Always PolicyTest.")
    spec: PolicyTestSpec = Field(description="What to test.")
