"""Gateway API `HTTPRoute`: routes requests to a service or through a gateway."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from meshwright.control_plane.policies.base import Metadata, OptionalObjectName, Spec, TargetedSpec
from meshwright.control_plane.policies.duration import Duration
from meshwright.control_plane.policies.field_types import Hostname, Weight, check_distinct
from meshwright.control_plane.policies.httproute.backends import BackendObjectReference
from meshwright.control_plane.policies.httproute.filters import (
    HTTPRouteFilter,
    check_filters,
    check_prefix_rewrites,
)
from meshwright.control_plane.policies.httproute.matches import HTTPRouteMatch
from meshwright.control_plane.policies.httproute.parents import RoutePolicy, RouteSpec, check_route
from meshwright.control_plane.policies.retry.spec import RetryBackoff, RetrySpec
from meshwright.control_plane.policies.timeout.spec import TimeoutSpec, check_limits

Status = Annotated[int, Field(strict=True, ge=400, le=599)]

PATHS_ANNOTATION = "meshwright.io/paths"
"""What a sidecar does with an ambiguous path, where a rule matches by path: Reject (default) or Keep."""

INLINE_POLICIES = {"Timeout": "timeouts", "Retry": "retry"}
"""Kinds that a rule can state inline, and the rule's field. An inline policy overrides every attached one."""


class HTTPBackendRef(BackendObjectReference):
    """A backend and its share of the requests."""

    weight: Weight = Field(
        1, description="Its share: this weight over the sum of the rule's weights. 0: no requests."
    )
    filters: tuple[HTTPRouteFilter, ...] = Field(
        (), max_length=16, description="Filters for this backend's share only."
    )

    @field_validator("filters")
    @classmethod
    def _filters(cls, filters: tuple[HTTPRouteFilter, ...]) -> tuple[HTTPRouteFilter, ...]:
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
    """Retries of the rule; they override every Retry policy.

    Connections that fail or break before a response are always retried, between sidecars as between the
    backend's sidecar and its app, if the request is safe to repeat.
    """

    codes: tuple[Status, ...] = Field((), max_length=16, description="Statuses to retry, 400 to 599.")
    attempts: int = Field(2, strict=True, ge=0, le=10, description="Retries after the first try; 0: none.")
    backoff: Duration | None = Field(None, description="The longest first wait, above 0s; 25ms.")

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


def mirror_references(
    filters: tuple[HTTPRouteFilter, ...], path: str
) -> Iterator[tuple[str, BackendObjectReference]]:
    """The backends that get copies, with their paths; `path` is that of the list of filters."""
    for index, item in enumerate(filters):
        if item.request_mirror is not None:
            yield f"{path}[{index}].requestMirror.backendRef", item.request_mirror.backend_ref


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
        for filters in (self.filters, *(ref.filters for ref in self.backend_refs)):
            check_prefix_rewrites(filters, self.matches)
        return self

    def references(self) -> Iterator[tuple[str, BackendObjectReference]]:
        """Every reference to a backend, of mirrors too, with its path in the rule."""
        yield from mirror_references(self.filters, "filters")
        for index, ref in enumerate(self.backend_refs):
            yield f"backendRefs[{index}]", ref
            yield from mirror_references(ref.filters, f"backendRefs[{index}].filters")

    def inline_policies(self) -> Iterator[tuple[str, TargetedSpec]]:
        """The rule's own timeouts and retries as the kind and spec they are equivalent to."""
        if self.timeouts is not None:
            yield "Timeout", self.timeouts.to_timeout_spec()
        if self.retry is not None:
            yield "Retry", self.retry.to_retry_spec()


class HTTPRouteSpec(RouteSpec):
    """Parents, host names and rules. The most specific match wins across all routes of a parent."""

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

    def backend_references(self) -> Iterator[tuple[str, BackendObjectReference]]:
        """Every reference to a backend, of mirrors too, with its path in the document."""
        for index, rule in enumerate(self.rules):
            for path, ref in rule.references():
                yield f"spec.rules[{index}].{path}", ref


class HTTPRoute(RoutePolicy):
    """Routes HTTP requests (Gateway API v1 `HTTPRoute`).

    With a parentRef of kind Service it routes calls to that service inside the mesh; with kind Gateway,
    requests from outside. Weights split traffic, matches select requests, filters change them.

    Where a rule matches by path, sidecars respond 400 to paths that apps may read in two ways (`//`, `..`, an
    escaped slash), unless the annotation `meshwright.io/paths` is `Keep`. A Gateway has `paths` for that.
    """

    order: ClassVar[int] = 100

    api_version: Literal["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"] = Field(
        description="gateway.networking.k8s.io/v1, or v1beta1 with the same meaning."
    )
    kind: Literal["HTTPRoute"] = Field(description="Always HTTPRoute.")
    spec: HTTPRouteSpec = Field(description="Parents, host names and rules.")

    @field_validator("metadata")
    @classmethod
    def _known_paths(cls, metadata: Metadata) -> Metadata:
        value = metadata.annotations.get(PATHS_ANNOTATION, "Reject")
        if value not in ("Reject", "Keep"):
            raise ValueError(f"annotation {PATHS_ANNOTATION} is {value!r}: write Keep, or Reject")
        return metadata

    @property
    def keeps_paths(self) -> bool:
        """Whether sidecars pass ambiguous paths to its rules."""
        return self.metadata.annotations.get(PATHS_ANNOTATION) == "Keep"
