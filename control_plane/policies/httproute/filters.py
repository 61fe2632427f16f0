"""The filters of an HTTPRoute: changes to requests and responses (Gateway API v1)."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from meshwright.control_plane.policies.base import Spec
from meshwright.control_plane.policies.field_types import (
    HeaderName,
    HeaderValue,
    PortNumber,
    PreciseHostname,
    check_distinct,
    check_header_changes,
)
from meshwright.control_plane.policies.httproute.backends import BackendObjectReference
from meshwright.control_plane.policies.httproute.cors import HTTPCORSFilter
from meshwright.control_plane.policies.httproute.matches import HTTPRouteMatch

FilterType = Literal[
    "RequestHeaderModifier",
    "ResponseHeaderModifier",
    "RequestMirror",
    "RequestRedirect",
    "URLRewrite",
    "CORS",
]


class HTTPHeader(Spec):
    """A header and its value."""

    name: HeaderName = Field(description="The header's name, case-insensitive.")
    value: HeaderValue = Field(description="The header's value, used literally.")


class HTTPHeaderFilter(Spec):
    """Changes headers."""

    set: tuple[HTTPHeader, ...] = Field(
        (), max_length=16, description="Headers that replace existing ones of the same name."
    )
    add: tuple[HTTPHeader, ...] = Field(
        (), max_length=16, description="Headers added to existing ones of the same name."
    )
    remove: tuple[HeaderName, ...] = Field((), max_length=16, description="Headers to remove.")

    @model_validator(mode="after")
    def _valid_names(self) -> Self:
        check_header_changes([*(header.name for header in self.set + self.add), *self.remove])
        return self


class HTTPPathModifier(Spec):
    """Replaces the whole path, or the prefix that matched."""

    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"] = Field(description="What is replaced.")
    replace_full_path: str | None = Field(None, max_length=1024, description="The new path.")
    replace_prefix_match: str | None = Field(
        None,
        max_length=1024,
        description="The replacement for the matched prefix; / or empty removes it.",
    )

    @model_validator(mode="after")
    def _valid(self) -> Self:
        full = self.type == "ReplaceFullPath"
        path, other = self.replace_full_path, self.replace_prefix_match
        if not full:
            path, other = other, path
        if path is None or other is not None:
            field = "replaceFullPath" if full else "replacePrefixMatch"
            raise ValueError(f"type {self.type} needs {field} and no other field: set only that")
        if not path.startswith("/") and (full or path):
            raise ValueError(f"path {path!r} does not begin with a slash: write {'/' + path!r}")
        if any(char <= " " or char in "?#\x7f" for char in path):
            raise ValueError(f"path {path!r} contains a space, ? or #: escape or remove it")
        return self


class Fraction(Spec):
    """A fraction of requests."""

    numerator: int = Field(strict=True, ge=0, le=1_000_000, description="Requests out of denominator.")
    denominator: int = Field(100, strict=True, ge=1, le=1_000_000, description="At least numerator.")

    @model_validator(mode="after")
    def _at_most_one(self) -> Self:
        if self.numerator > self.denominator:
            raise ValueError("numerator is above denominator: lower it")
        return self


class HTTPRequestMirrorFilter(Spec):
    """Sends a copy of requests to another backend and ignores the response."""

    backend_ref: BackendObjectReference = Field(description="Where copies go.")
    percent: int | None = Field(
        None,
        strict=True,
        ge=0,
        le=100,
        description="Percentage of requests to copy. Omitted: all.",
    )
    fraction: Fraction | None = Field(None, description="The same as a fraction.")

    @model_validator(mode="after")
    def _one_share(self) -> Self:
        if self.percent is not None and self.fraction is not None:
            raise ValueError("percent and fraction mean the same: set one")
        return self

    @property
    def share(self) -> float:
        """The share of requests to copy, 0 to 1."""
        if self.fraction:
            return self.fraction.numerator / self.fraction.denominator
        return 1.0 if self.percent is None else self.percent / 100


class HTTPRequestRedirectFilter(Spec):
    """Responds with a redirect. Omitted parts stay as in the request."""

    scheme: Literal["http", "https"] | None = Field(None, description="The new scheme.")
    hostname: PreciseHostname | None = Field(None, description="The new host.")
    path: HTTPPathModifier | None = Field(None, description="The new path.")
    port: PortNumber | None = Field(
        None, description="The new port. Omitted: the one of the new scheme; without a scheme the listener's."
    )
    status_code: Literal[301, 302, 303, 307, 308] = Field(302, description="The response's status.")


class HTTPURLRewriteFilter(Spec):
    """Changes host or path before the request goes to the backend."""

    hostname: PreciseHostname | None = Field(None, description="The Host that the backend sees.")
    path: HTTPPathModifier | None = Field(None, description="The path that the backend sees.")


class HTTPRouteFilter(Spec):
    """One filter: `type` names the field that configures it."""

    type: FilterType = Field(description="Which filter this is.")
    request_header_modifier: HTTPHeaderFilter | None = Field(
        None, description="Changes the request's headers."
    )
    response_header_modifier: HTTPHeaderFilter | None = Field(
        None, description="Changes the response's headers."
    )
    request_mirror: HTTPRequestMirrorFilter | None = Field(
        None, description="Copies requests to another backend."
    )
    request_redirect: HTTPRequestRedirectFilter | None = Field(None, description="Responds with a redirect.")
    url_rewrite: HTTPURLRewriteFilter | None = Field(None, description="Changes host or path.")
    cors: HTTPCORSFilter | None = Field(None, description="Lets pages of other origins call.")

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        bodies = {
            "RequestHeaderModifier": ("requestHeaderModifier", self.request_header_modifier),
            "ResponseHeaderModifier": ("responseHeaderModifier", self.response_header_modifier),
            "RequestMirror": ("requestMirror", self.request_mirror),
            "RequestRedirect": ("requestRedirect", self.request_redirect),
            "URLRewrite": ("urlRewrite", self.url_rewrite),
            "CORS": ("cors", self.cors),
        }
        present = [kind for kind, (_, body) in bodies.items() if body is not None]
        if present != [self.type]:
            raise ValueError(
                f"a filter of type {self.type} needs exactly {bodies[self.type][0]}: set only that"
            )
        return self


def check_filters(filters: tuple[HTTPRouteFilter, ...]) -> tuple[HTTPRouteFilter, ...]:
    """The filters of one rule or backend; raises ValueError if Gateway API does not allow them together."""
    types = [item.type for item in filters if item.type != "RequestMirror"]
    check_distinct(types, "filter")
    if {"RequestRedirect", "URLRewrite"} <= set(types):
        raise ValueError("RequestRedirect and URLRewrite are mutually exclusive: keep one")
    return filters


def check_prefix_rewrites(filters: tuple[HTTPRouteFilter, ...], matches: tuple[HTTPRouteMatch, ...]) -> None:
    """Raise ValueError if a filter replaces the matched prefix and the rule has no single one."""
    for item in filters:
        change = item.request_redirect or item.url_rewrite
        prefix = change and change.path and change.path.type == "ReplacePrefixMatch"
        if prefix and [match.path.type for match in matches] != ["PathPrefix"]:
            raise ValueError("ReplacePrefixMatch needs exactly one match, of type PathPrefix: split the rule")
