"""Gateway API `HTTPRoute`: where requests for a service, or through a gateway, go."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from meshwright.control_plane.api.models.base import Name
from meshwright.control_plane.policies.base import Combine, OptionalName, Policy, Spec
from meshwright.control_plane.policies.duration import Duration
from meshwright.control_plane.policies.field_types import (
    Hostname,
    NoNamespace,
    PortNumber,
    Weight,
    check_distinct,
)
from meshwright.control_plane.policies.httproute.backends import BackendObjectReference
from meshwright.control_plane.policies.httproute.filters import HTTPRouteFilter, check_filters
from meshwright.control_plane.policies.httproute.matches import HTTPRouteMatch
from meshwright.control_plane.policies.retry.spec import RetryBackoff, RetrySpec
from meshwright.control_plane.policies.timeout.spec import TimeoutSpec, check_limits

Status = Annotated[int, Field(strict=True, ge=400, le=599)]


class ParentReference(Spec):
    """Whose requests the route takes: those to a Service inside the mesh, or those through a Gateway."""

    group: Literal["", "core", "gateway.networking.k8s.io"] = Field(
        "", description="Accepted as Gateway API writes it; nothing depends on it."
    )
    kind: Literal["Gateway", "Service"] = Field("Gateway", description="What `name` names.")
    namespace: NoNamespace = Field("", description="Accepted when empty: a mesh has no namespaces.")
    name: Name = Field(description="The Gateway or Service.")
    section_name: OptionalName = Field("", description="A listener of the Gateway; empty: all of them.")
    port: PortNumber | None = Field(None, description="Only this port of the parent; left out: all of them.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.kind == "Service" and self.group == "gateway.networking.k8s.io":
            raise ValueError("a Service is of group '': write so or leave group out")
        if self.kind == "Service" and self.section_name:
            raise ValueError("a Service has no sections: leave sectionName out, or give port")
        return self


class HTTPBackendRef(BackendObjectReference):
    """A backend and its share of the requests."""

    weight: Weight = Field(
        1, description="Its share: weight over the sum of the rule's weights. 0: no requests."
    )
    filters: tuple[HTTPRouteFilter, ...] = Field(
        (), max_length=16, description="Only header modifiers: changes for this backend alone."
    )

    @field_validator("filters")
    @classmethod
    def _headers_only(cls, filters: tuple[HTTPRouteFilter, ...]) -> tuple[HTTPRouteFilter, ...]:
        for item in filters:
            if item.type not in ("RequestHeaderModifier", "ResponseHeaderModifier"):
                raise ValueError(f"{item.type} cannot stand at a backend: put it in the rule's filters")
        return check_filters(filters)


class HTTPRouteTimeouts(Spec):
    """Limits of time for the rule; they win over every Timeout policy. `0s` means none."""

    request: Duration | None = Field(None, description="The whole request with all its tries.")
    backend_request: Duration | None = Field(None, description="Each single try.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        check_limits(self.request, self.backend_request)
        return self

    def to_timeout_spec(self) -> TimeoutSpec:
        """The same as the spec of a Timeout, which has the hooks."""
        return TimeoutSpec(request=self.request, backend_request=self.backend_request)


class HTTPRouteRetry(Spec):
    """Retries for the rule; they win over every Retry policy. Failed connections are always retried."""

    codes: tuple[Status, ...] = Field((), max_length=16, description="Statuses that are retried, 400 to 599.")
    attempts: int = Field(2, strict=True, ge=0, le=10, description="Retries after the first try; 0: none.")
    backoff: Duration | None = Field(None, description="The scale of the first wait, above 0s; 25ms.")

    @model_validator(mode="after")
    def _valid(self) -> Self:
        check_distinct(map(str, self.codes), "status")
        if self.backoff is not None and not self.backoff:
            raise ValueError("backoff is 0s, and a retry storm would follow: give at least 1ms")
        return self

    def to_retry_spec(self) -> RetrySpec:
        """The same as the spec of a Retry, which has the hooks; waits grow to ten times `backoff`."""
        base = timedelta(milliseconds=25) if self.backoff is None else self.backoff
        return RetrySpec(
            attempts=self.attempts,
            on=("reset", "connect-failure", "refused-stream", *self.codes),
            backoff=RetryBackoff(base=base, max=base * 10),
        )


class HTTPRouteRule(Spec):
    """Requests that match any of `matches` go to one of `backendRefs`, by weight."""

    name: OptionalName = Field("", description="Policies attach to the rule by it (sectionName).")
    matches: tuple[HTTPRouteMatch, ...] = Field(
        (HTTPRouteMatch(),), max_length=64, description="Alternatives; left out: every request."
    )
    filters: tuple[HTTPRouteFilter, ...] = Field((), max_length=16, description="Changes on the way.")
    backend_refs: tuple[HTTPBackendRef, ...] = Field(
        (), max_length=16, description="Where requests go. None, and no redirect: answered with 500."
    )
    timeouts: HTTPRouteTimeouts | None = Field(None, description="Limits of time for this rule.")
    retry: HTTPRouteRetry | None = Field(None, description="Retries for this rule.")

    @field_validator("matches")
    @classmethod
    def _some_match(cls, matches: tuple[HTTPRouteMatch, ...]) -> tuple[HTTPRouteMatch, ...]:
        return matches or (HTTPRouteMatch(),)

    @field_validator("filters")
    @classmethod
    def _filters(cls, filters: tuple[HTTPRouteFilter, ...]) -> tuple[HTTPRouteFilter, ...]:
        return check_filters(filters)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        redirect = any(item.type == "RequestRedirect" for item in self.filters)
        if redirect and self.backend_refs:
            raise ValueError("RequestRedirect and backendRefs exclude each other: keep one")
        for item in self.filters:
            change = item.request_redirect or item.url_rewrite
            prefix = change and change.path and change.path.type == "ReplacePrefixMatch"
            if prefix and [match.path.type for match in self.matches] != ["PathPrefix"]:
                raise ValueError(
                    "ReplacePrefixMatch needs exactly one match, of type PathPrefix: split the rule"
                )
        return self


def check_route(
    parents: Iterable[ParentReference], hostnames: Iterable[str], rules: Iterable[str], matches: int
) -> None:
    """What holds for a route of any kind; `rules` are their names, `matches` counts those of all rules.

    Raises ValueError.
    """
    check_distinct((name for name in rules if name), "rule")
    check_distinct(hostnames, "host name")
    places = (f"{ref.kind} {ref.name} {ref.section_name} {ref.port or ''}".rstrip() for ref in parents)
    check_distinct(places, "parent")
    if matches > 128:
        raise ValueError("more than 128 matches in one route: split it in several")


class HTTPRouteSpec(Spec):
    """Parents, host names and rules. The most specific match wins, across all routes of a parent."""

    parent_refs: tuple[ParentReference, ...] = Field(
        min_length=1, max_length=32, description="The Services or Gateways whose requests it takes."
    )
    hostnames: tuple[Hostname, ...] = Field(
        (), max_length=16, description="Only these hosts, at a Gateway; empty: every host of the listener."
    )
    rules: tuple[HTTPRouteRule, ...] = Field(
        (HTTPRouteRule(),), min_length=1, max_length=16, description="What goes where."
    )

    @model_validator(mode="after")
    def _valid(self) -> Self:
        names = [rule.name for rule in self.rules]
        check_route(self.parent_refs, self.hostnames, names, sum(len(rule.matches) for rule in self.rules))
        return self


class HTTPRoute(Policy):
    """Says where HTTP requests go (Gateway API v1 `HTTPRoute`).

    With a parentRef of kind Service it steers calls to that service inside the mesh, with one of kind Gateway
    the requests from outside. Weights split traffic, matches pick requests, filters change them.
    """

    combine: ClassVar[Combine] = "resource"
    order: ClassVar[int] = 100

    api_version: Literal["gateway.networking.k8s.io/v1"] = Field(
        description="Always gateway.networking.k8s.io/v1."
    )
    kind: Literal["HTTPRoute"] = Field(description="Always HTTPRoute.")
    spec: HTTPRouteSpec = Field(description="Parents, host names and rules.")
