"""What a GRPCRoute's rule matches: service, method and metadata (Gateway API v1)."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from meshwright.control_plane.policies import re2
from meshwright.control_plane.policies.base import Spec
from meshwright.control_plane.policies.field_types import check_distinct
from meshwright.control_plane.policies.httproute.matches import (
    HTTPHeaderMatch,
    HTTPPathMatch,
    HTTPRouteMatch,
)

# Gateway API's rules for Exact (GRPCMethodMatch).
_SERVICE = re.compile(r"[A-Za-z_][A-Za-z_0-9]*(\.[A-Za-z_][A-Za-z_0-9]*)*")
_METHOD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")

_ANY = "[^/]+"

GRPCName = Annotated[str, StringConstraints(max_length=500)]


class GRPCMethodMatch(Spec):
    """A match on service and method; an omitted part matches everything."""

    type: Literal["Exact", "RegularExpression"] = Field(
        "Exact", description="RegularExpression matches the whole name."
    )
    service: GRPCName = Field("", description="The service's full name, such as `shop.v1.Orders`.")
    method: GRPCName = Field("", description="The method, such as `Get`.")

    @model_validator(mode="after")
    def _valid(self) -> Self:
        if not self.service and not self.method:
            raise ValueError("neither service nor method is set: set one, or leave the match out")
        for name, value, pattern in (("service", self.service, _SERVICE), ("method", self.method, _METHOD)):
            if self.type == "RegularExpression":
                re2.check(value)
            elif value and not pattern.fullmatch(value):
                raise ValueError(f"{value!r} is not a valid gRPC {name}: write it as in the .proto file")
        if self.type == "RegularExpression":
            re2.check(self._path_pattern())
        return self

    def to_path_match(self) -> HTTPPathMatch:
        """The equivalent match on the path, which for gRPC is `/service/method`."""
        if self.type == "Exact" and self.service:
            kind: Literal["Exact", "PathPrefix"] = "Exact" if self.method else "PathPrefix"
            path = f"/{self.service}/{self.method}" if self.method else f"/{self.service}"
            return HTTPPathMatch(type=kind, value=path)
        return HTTPPathMatch(type="RegularExpression", value=self._path_pattern())

    def _path_pattern(self) -> str:
        """The regular expression of the path."""
        patterns = (self._pattern(self.service), self._pattern(self.method))
        return "/" + "/".join(f"({pattern})" if pattern else _ANY for pattern in patterns)

    def _pattern(self, name: str) -> str:
        return name if self.type == "RegularExpression" else re.escape(name)


class GRPCRouteMatch(Spec):
    """All parts must match. Several matches of a rule are alternatives."""

    method: GRPCMethodMatch | None = Field(None, description="Which calls. Omitted: every call.")
    headers: tuple[HTTPHeaderMatch, ...] = Field(
        (), max_length=16, description="The call's metadata; all entries must match."
    )

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        check_distinct((header.name.lower() for header in self.headers), "header")
        return self

    def to_http(self) -> HTTPRouteMatch:
        """The equivalent match of an HTTPRoute."""
        path = self.method.to_path_match() if self.method else HTTPPathMatch()
        return HTTPRouteMatch(path=path, headers=self.headers)
