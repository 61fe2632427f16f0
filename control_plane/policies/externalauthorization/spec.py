"""ExternalAuthorization: which authorizer decides about a request, and what it gets to see."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from meshwright.control_plane.policies.base import Combine, Spec, TargetedPolicy, TargetedSpec, TargetKind
from meshwright.control_plane.policies.called_url import URL, CalledURL, CAPem, check_ca, parse_url
from meshwright.control_plane.policies.duration import Duration
from meshwright.control_plane.policies.exempt_request import ExemptRequest
from meshwright.control_plane.policies.field_types import HOP_BY_HOP, HeaderName, check_distinct

DEFAULT_TIMEOUT, MAX_TIMEOUT = timedelta(seconds=1), timedelta(seconds=60)

MAX_BODY_BYTES = 8 * 1024 * 1024
"""What a proxy holds in memory for one request at most, before the authorizer has let it in."""

_Headers = Annotated[tuple[HeaderName, ...], Field(max_length=32)]


class Authorizer(Spec):
    """Where the authorizer is."""

    url: URL
    ca: CAPem = ""

    @field_validator("url")
    @classmethod
    def _usable(cls, url: str) -> str:
        parse_url(url)
        return url

    @model_validator(mode="after")
    def _ca_is_used(self) -> Self:
        check_ca(self.ca, self.url)
        return self

    @property
    def parsed(self) -> CalledURL:
        """The parts of the URL."""
        return parse_url(self.url)


class HTTPAuthorizer(Authorizer):
    """An authorizer that gets each request's method, path and host, and lets it in with the status 200."""

    url: URL = Field(
        description="http://SERVICE/path of a service of the mesh, http://127.0.0.1:PORT of a process beside "
        "each proxy, or https://host/path. The request's own path is appended."
    )
    append_path: bool = Field(
        True,
        description="false: the authorizer always gets the path of the URL (oauth2-proxy's /oauth2/auth). "
        "The request's own is in x-forwarded-uri either way.",
    )


class GRPCAuthorizer(Authorizer):
    """An authorizer that implements envoy.service.auth.v3.Authorization, such as OPA."""

    url: URL = Field(
        description="http://SERVICE:PORT of a service of the mesh whose port speaks grpc, "
        "http://127.0.0.1:PORT of a process beside each proxy, or https://host."
    )

    @field_validator("url")
    @classmethod
    def _no_path(cls, url: str) -> str:
        if parse_url(url).path.strip("/"):
            raise ValueError("a gRPC authorizer has no path: leave it out of the url")
        return url


class BodyToAuthorizer(Spec):
    """How much of a request's body the authorizer gets."""

    max_bytes: int = Field(
        strict=True, ge=1, le=MAX_BODY_BYTES, description="The proxy holds up to this much in memory."
    )
    allow_partial: bool = Field(
        False, description="Whether the authorizer gets the beginning of a larger body. false: it is refused "
        "with 413."
    )  # fmt: skip


class ExternalAuthorizationSpec(TargetedSpec):
    """The authorizer, what it gets, and what becomes of its answer."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset(
        {"Gateway", "Service", "HTTPRoute", "GRPCRoute"}
    )
    gateway_sections: ClassVar[bool] = True
    gateway_routes_only: ClassVar[bool] = True

    http: HTTPAuthorizer | None = Field(None, description="An authorizer that speaks HTTP. Or set grpc.")
    grpc: GRPCAuthorizer | None = Field(None, description="An authorizer that speaks gRPC. Or set http.")
    timeout: Duration = Field(
        DEFAULT_TIMEOUT,
        ge=timedelta(milliseconds=1),
        le=MAX_TIMEOUT,
        description="How long the authorizer may take.",
    )
    on_failure: Literal["deny", "allow"] = Field(
        "deny",
        description="What happens if it cannot be reached, is late, or answers with 5xx: deny responds 503, "
        "allow lets the request in.",
    )
    headers_to_authorizer: _Headers = Field(
        (),
        description="Request headers that it gets. Empty: all over gRPC; over HTTP `authorization` only, "
        "which it gets in any case.",
    )
    headers_to_backend: _Headers = Field(
        (),
        description="Headers of its answer that the application gets. What clients send under these names "
        "never reaches it. Others are dropped.",
    )
    headers_to_client: _Headers = Field(
        (),
        description="Headers of its answer that clients get, such as `set-cookie`. Empty: with a refusal "
        "all, otherwise none. A gRPC authorizer says itself which.",
    )
    body: BodyToAuthorizer | None = Field(None, description="Sends the body, too. Omitted: no body.")
    exceptions: tuple[ExemptRequest, ...] = Field(
        (), max_length=16, description="Requests that are let in without asking the authorizer."
    )

    @property
    def authorizer(self) -> HTTPAuthorizer | GRPCAuthorizer:
        """The one that is set."""
        if self.http:
            return self.http
        if self.grpc:
            return self.grpc
        raise LookupError("a valid spec has an authorizer")

    def called_urls(self) -> Iterator[tuple[str, CalledURL]]:
        """The authorizer."""
        yield ("http.url" if self.http else "grpc.url"), self.authorizer.parsed

    @field_validator("headers_to_authorizer", "headers_to_client")
    @classmethod
    def _end_to_end(cls, headers: tuple[str, ...]) -> tuple[str, ...]:
        """What frames one message would frame another one wrongly."""
        for header in headers:
            if header.lower() in HOP_BY_HOP:
                raise ValueError(f"header {header!r} is of one connection: leave it out")
        return headers

    @field_validator("headers_to_backend")
    @classmethod
    def _removable(cls, headers: tuple[str, ...]) -> tuple[str, ...]:
        for header in headers:
            if header.lower() in HOP_BY_HOP | {"host"}:
                raise ValueError(f"header {header!r} cannot be set by an authorizer: leave it out")
        return tuple(header.lower() for header in headers)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.from_:
            raise ValueError("from: the authorizer decides about every caller: leave it out")
        if self.http and self.grpc:
            raise ValueError("set one of http and grpc, not both")
        if not (self.http or self.grpc):
            raise ValueError("neither http nor grpc is set: name the authorizer")
        if self.grpc and self.headers_to_client:
            raise ValueError("headersToClient: a gRPC authorizer says itself which: leave it out")
        for name in ("headers_to_authorizer", "headers_to_backend", "headers_to_client"):
            check_distinct((header.lower() for header in getattr(self, name)), "header")
        return self


class ExternalAuthorization(TargetedPolicy):
    """Asks an authorizer of yours about each request (Envoy's ext_authz), such as OPA or oauth2-proxy.

    A policy for a Gateway, one of its listeners (`sectionName`) or a route is enforced at the gateway; one
    for a Service by the sidecars of that service, for every caller. All policies apply that target a request,
    and none lifts another. A refusal passes to the client as the authorizer wrote it.
    """

    combine: ClassVar[Combine] = "all"
    order: ClassVar[int] = 170

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["ExternalAuthorization"] = Field(description="Always ExternalAuthorization.")
    spec: ExternalAuthorizationSpec = Field(description="Targets, authorizer, and what travels.")
