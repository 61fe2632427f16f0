"""What an HTTPRoute's rule matches: path, headers, query parameters, method (Gateway API v1)."""

from __future__ import annotations

import re
from typing import Literal, Self, TypeAlias

from pydantic import Field, model_validator

from meshwright.control_plane.policies import re2
from meshwright.control_plane.policies.base import Spec
from meshwright.control_plane.policies.field_types import HeaderName, check_distinct

Method = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]
ValueType = Literal["Exact", "RegularExpression"]

Rank: TypeAlias = tuple[int, int, int, int, int]
"""The position of a match among others; the lowest is tried first."""

_PATH_RANKS = {"Exact": 0, "RegularExpression": 1, "PathPrefix": 2}

# Gateway API's rules for Exact and PathPrefix.
_PATH = re.compile(r"/(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*")
_UNMATCHABLE_PATH = re.compile(r"//|/\./|/\.\./|%2[fF]|/\.\.?$")


class HTTPPathMatch(Spec):
    """A match on the path, without the query."""

    type: Literal["Exact", "PathPrefix", "RegularExpression"] = Field(
        "PathPrefix",
        description="PathPrefix matches whole segments: /a matches /a and /a/b, not /ab. "
        "RegularExpression matches the whole path.",
    )
    value: str = Field("/", max_length=1024, description="The path; begins with a slash.")

    @model_validator(mode="after")
    def _valid(self) -> Self:
        if self.type == "RegularExpression":
            re2.check(self.value)
        elif not self.value.startswith("/"):
            raise ValueError(f"path {self.value!r} does not begin with a slash: write {'/' + self.value!r}")
        elif not _PATH.fullmatch(self.value) or _UNMATCHABLE_PATH.search(self.value):
            raise ValueError(
                f"path {self.value!r} can never match a request: remove //, /./, /../ and %2f, and escape "
                "what a URL does not allow"
            )
        return self


class ValueMatch(Spec):
    """A match on a named value."""

    type: ValueType = Field("Exact", description="RegularExpression matches the whole value.")
    value: str = Field(min_length=1, max_length=4096, description="The value, or its regular expression.")

    @model_validator(mode="after")
    def _valid(self) -> Self:
        if self.type == "RegularExpression":
            re2.check(self.value)
        return self


class HTTPHeaderMatch(ValueMatch):
    """A match on a request header."""

    name: HeaderName = Field(description="The header's name, case-insensitive.")


class HTTPQueryParamMatch(ValueMatch):
    """A match on a query parameter, as the URL has it: escapes are compared, not resolved."""

    name: HeaderName = Field(description="The parameter's name, case-sensitive.")


class HTTPRouteMatch(Spec):
    """All parts must match. Several matches of a rule are alternatives."""

    path: HTTPPathMatch = Field(HTTPPathMatch(), description="A match on the path. Omitted: every path.")
    headers: tuple[HTTPHeaderMatch, ...] = Field((), max_length=16, description="All of them must match.")
    query_params: tuple[HTTPQueryParamMatch, ...] = Field(
        (), max_length=16, description="All of them must match."
    )
    method: Method | None = Field(None, description="Only requests with this method.")

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        check_distinct((header.name.lower() for header in self.headers), "header")
        check_distinct((param.name for param in self.query_params), "query parameter")
        return self


def rank(match: HTTPRouteMatch) -> Rank:
    """Exact path, regular expression, longest prefix, then method, most headers, most query parameters.

    The order of HTTPRouteRule.matches in Gateway API v1.
    """
    path = match.path
    return (
        _PATH_RANKS[path.type],
        -len(path.value.rstrip("/") if path.type == "PathPrefix" else path.value),
        match.method is None,
        -len(match.headers),
        -len(match.query_params),
    )
