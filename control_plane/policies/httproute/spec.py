"""Gateway API `HTTPRoute`: routes requests to a service or through a gateway."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from meshwright.control_plane.api.models.base import Name
from meshwright.control_plane.policies.base import (
    Combine,
    OptionalObjectName,
    Policy,
    RouteMetadata,
    Spec,
    TargetedSpec,
)
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

INLINE_POLICIES = {"Timeout": "timeouts", "Retry": "retry"}
"""Kinds that a rule can state inline, and the rule's field. An inline policy overrides every attached one."""

MAX_MATCHES = 128


class ParentReference(Spec):
    """Whose requests the route matches: those to a Service in the mesh, or those through a Gateway."""

    group: Literal["", "core", "gateway.networking.k8s.io"] = Field(
        "", description="Accepted for Gateway API compatibility and ignored."
    )
    kind: Literal["Gateway", "Service"] = Field("Gateway", description="The kind of `name`.")
    namespace: NoNamespace = Field("", description="Must be empty: a mesh has no namespaces.")
    name: Name = Field(description="The Gateway or Service.")
    section_name: OptionalObjectName = Field(
        "", description="A listener of the Gateway. Empty: every listener."
    )
    port: PortNumber | None = Field(None, description="Only this port of the parent. Omitted: every port.")

    @model_validator(mode="after")
    def _valid_service(self) -> Self:
        if self.kind == "Service" and self.group == "gateway.networking.k8s.io":
            raise ValueError("a Service has group '': change group or leave it out")
        if self.kind == "Service" and self.section_name:
            raise ValueError("a Service has no sections: leave sectionName out, or use port")
        return self


class HTTPBackendRef(BackendObjectReference):
    """A backend and its share of the requests."""

    weight: Weight = Field(
        1, description="Its share: this weight over the sum of the rule's weights. 0: no requests."
    )
    filters: tuple[HTTPRouteFilter, ...] = Field(
        (), max_length=16, description="Header modifiers for this backend only."
    )

    @field_validator("filters")
    @classmethod
    def _headers_only(cls, filters: tuple[HTTPRouteFilter, ...]) -> tuple[HTTPRouteFilter, ...]:
        for item in filters:
            if item.type not in ("RequestHeaderModifier", "ResponseHeaderModifier"):
                raise ValueError(f"{item.type} is not allowed on a backend: move it to the rule's filters")
        return check_filters(filters)


class HTTPRouteTimeouts(Spec):
    """Timeouts of the rule; they override every Timeout policy. `0s` means none."""

    request: Duration | None = Field(None, description="The whole request including retries.")
    backend_request: Duration | None = Field(None, description="Each try.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        check_limits(self.request, self.backend_request)
        return self

    def to_timeout_spec(self) -> TimeoutSpec:
        """The equivalent spec of a Timeout."""
        return TimeoutSpec(request=self.request, backend_request=self.backend_request)


class HTTPRouteRetry(Spec):
    """Retries of the rule; they override every Retry policy. Failed connections are always retried."""

    codes: tuple[Status, ...] = Field((), max_length=16, description="Statuses to retry, 400 to 599.")
    attempts: int = Field(2, strict=True, ge=0, le=10, description="Retries after the first try; 0: none.")
    backoff: Duration | None = Field(None, description="Base interval of the first wait, above 0s; 25ms.")

    @model_validator(mode="after")
    def _valid(self) -> Self:
        check_distinct(map(str, self.codes), "status")
        if self.backoff is not None and not self.backoff:
            raise ValueError("backoff is 0s, which causes retry storms: use at least 1ms")
        return self

    def to_retry_spec(self) -> RetrySpec:
        """The equivalent spec of a Retry; waits grow to ten times `backoff`."""
        base = timedelta(milliseconds=25) if self.backoff is None else self.backoff
        return RetrySpec(
            attempts=self.attempts,
            on=("reset", "connect-failure", "refused-stream", *self.codes),
            backoff=RetryBackoff(base=base, max=base * 10),
        )


class HTTPRouteRule(Spec):
    """Requests that match any of `matches` go to one of `backendRefs`, by weight."""

    name: OptionalObjectName = Field(
        "", description="Policies attach to the rule by this name (sectionName)."
    )
    matches: tuple[HTTPRouteMatch, ...] = Field(
        (HTTPRouteMatch(),), max_length=64, description="Alternatives. Omitted: every request."
    )
    filters: tuple[HTTPRouteFilter, ...] = Field(
        (), max_length=16, description="Changes to requests and responses."
    )
    backend_refs: tuple[HTTPBackendRef, ...] = Field(
        (), max_length=16, description="Where requests go. None, and no redirect: 500."
    )
    timeouts: HTTPRouteTimeouts | None = Field(None, description="Timeouts of this rule.")
    retry: HTTPRouteRetry | None = Field(None, description="Retries of this rule.")

    @field_validator("matches")
    @classmethod
    def _default_match(cls, matches: tuple[HTTPRouteMatch, ...]) -> tuple[HTTPRouteMatch, ...]:
        return matches or (HTTPRouteMatch(),)

    @field_validator("filters")
    @classmethod
    def _filters(cls, filters: tuple[HTTPRouteFilter, ...]) -> tuple[HTTPRouteFilter, ...]:
        return check_filters(filters)

    @model_validator(mode="after")
    def _compatible_filters(self) -> Self:
        redirect = any(item.type == "RequestRedirect" for item in self.filters)
        if redirect and self.backend_refs:
            raise ValueError("RequestRedirect and backendRefs are mutually exclusive: keep one")
        for item in self.filters:
            change = item.request_redirect or item.url_rewrite
            prefix = change and change.path and change.path.type == "ReplacePrefixMatch"
            if prefix and [match.path.type for match in self.matches] != ["PathPrefix"]:
                raise ValueError(
                    "ReplacePrefixMatch needs exactly one match, of type PathPrefix: split the rule"
                )
        return self

    def inline_policies(self) -> Iterator[tuple[str, TargetedSpec]]:
        """The rule's own timeouts and retries as the kind and spec they are equivalent to."""
        if self.timeouts is not None:
            yield "Timeout", self.timeouts.to_timeout_spec()
        if self.retry is not None:
            yield "Retry", self.retry.to_retry_spec()


def check_route(
    parents: Iterable[ParentReference], hostnames: Iterable[str], rules: Iterable[str], matches: int
) -> None:
    """Check what holds for a route of any kind; raises ValueError.

    `rules` are the rules' names, `matches` is the number of matches in all rules.
    """
    check_distinct((name for name in rules if name), "rule")
    check_distinct(hostnames, "host name")
    refs = (f"{ref.kind} {ref.name} {ref.section_name} {ref.port or ''}".rstrip() for ref in parents)
    check_distinct(refs, "parent")
    if matches > MAX_MATCHES:
        raise ValueError(f"more than {MAX_MATCHES} matches in one route: split it")


class HTTPRouteSpec(Spec):
    """Parents, host names and rules. The most specific match wins across all routes of a parent."""

    parent_refs: tuple[ParentReference, ...] = Field(
        min_length=1, max_length=32, description="The Services or Gateways whose requests it routes."
    )
    hostnames: tuple[Hostname, ...] = Field(
        (), max_length=16, description="At a Gateway, only these hosts. Empty: every host of the listener."
    )
    rules: tuple[HTTPRouteRule, ...] = Field(
        (HTTPRouteRule(),), min_length=1, max_length=16, description="Matches and backends."
    )

    @model_validator(mode="after")
    def _valid(self) -> Self:
        names = [rule.name for rule in self.rules]
        check_route(self.parent_refs, self.hostnames, names, sum(len(rule.matches) for rule in self.rules))
        return self


class HTTPRoute(Policy):
    """Routes HTTP requests (Gateway API v1 `HTTPRoute`).

    With a parentRef of kind Service it routes calls to that service inside the mesh; with kind Gateway,
    requests from outside. Weights split traffic, matches select requests, filters change them.
    """

    combine: ClassVar[Combine] = "resource"
    order: ClassVar[int] = 100

    api_version: Literal["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"] = Field(
        description="gateway.networking.k8s.io/v1, or v1beta1 with the same meaning."
    )
    kind: Literal["HTTPRoute"] = Field(description="Always HTTPRoute.")
    metadata: RouteMetadata = Field(description="Name, labels and annotations.")
    spec: HTTPRouteSpec = Field(description="Parents, host names and rules.")
