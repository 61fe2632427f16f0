"""What a rule of an Authorization matches: callers and requests."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, StringConstraints, field_validator, model_validator

from meshwright.control_plane.api.models.base import Name
from meshwright.control_plane.policies.ambiguous_path import is_ambiguous
from meshwright.control_plane.policies.base import Spec
from meshwright.control_plane.policies.field_types import HOP_BY_HOP, Hostname
from meshwright.control_plane.policies.gateway.edge import Network
from meshwright.control_plane.policies.httproute.matches import HTTPHeaderMatch

MAX_HEADER_VALUE = 256
MAX_ENTRIES = 64
"""Entries of any list of a match."""

_CHAR = r"(?:[A-Za-z0-9_.~!$&'()+,=:@-]|%[0-9A-Fa-f]{2})"
_PATH = re.compile(rf"(?:/{_CHAR}*)+")
_TEMPLATE = re.compile(rf"(?:/(?:{_CHAR}*|\*|\{{[A-Za-z_]\w*\}}))+?(?:/\*\*)?|/\*\*")

_Method = Annotated[str, StringConstraints(max_length=32, pattern=r"^[A-Z][A-Z-]*$")]
_Text = Annotated[str, StringConstraints(min_length=1, max_length=1024, pattern=r"^[^\x00-\x1f\x7f]+$")]
_ClaimPath = Annotated[str, StringConstraints(min_length=1, max_length=256, pattern=r"^[^\s.]+(\.[^\s.]+)*$")]
_GRPCService = Annotated[str, StringConstraints(max_length=500, pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]
_GRPCMethod = Annotated[str, StringConstraints(max_length=500, pattern=r"^([A-Za-z_]\w*)?$")]
_TrustDomain = Annotated[str, StringConstraints(max_length=255, pattern=r"^[a-z0-9._-]+$")]


def _matchable_host(host: str) -> str:
    if host.rpartition(".")[2].isdigit():
        raise ValueError(f"host {host!r} is an address: write the name that callers use")
    return host


def _port_name(port: str) -> str:
    if port.isdigit():
        raise ValueError(f"port {port!r} is a number: write the port's name, as in the application file")
    return port


_PortName = Annotated[Name, AfterValidator(_port_name)]

MatchT = TypeVar("MatchT", bound=Spec)

_Host = Annotated[Hostname, AfterValidator(_matchable_host)]


def _check_set(match: MatchT, what: str) -> MatchT:
    """Raise ValueError if nothing is set: an empty entry would match everything."""
    if not any(getattr(match, name) for name in type(match).model_fields):
        raise ValueError(f"nothing is set, so this is every one: name {what}, or leave the list out")
    return match


class ClaimMatch(Spec):
    """A claim of a verified token. A list matches if one of its elements does."""

    name: _ClaimPath = Field(description="The claim. `realm.roles` is roles in realm.")
    values: tuple[_Text, ...] = Field(
        min_length=1,
        max_length=MAX_ENTRIES,
        description="One of these. `true` and `false` also match booleans; in `scope` and `scp` each "
        "word counts.",
    )
    issuer: _Text | Literal[""] = Field("", description="Only tokens of this issuer. Omitted: of any.")


class CallerMatch(Spec):
    """Who calls. All fields that are set must match; of a list, one entry."""

    services: tuple[Name | Literal["*"], ...] = Field(
        (), max_length=MAX_ENTRIES, description="Calling services, by their certificate. `*`: every service."
    )
    gateways: tuple[Name | Literal["*"], ...] = Field(
        (),
        max_length=MAX_ENTRIES,
        description="Calling gateways, by their certificate: together with `services` a list of callers.",
    )
    trust_domains: tuple[_TrustDomain, ...] = Field(
        (), max_length=MAX_ENTRIES, description="Trust domains of the caller's certificate."
    )
    claims: tuple[ClaimMatch, ...] = Field(
        (), max_length=16, description="Claims of a token that a JWTAuthentication verified; all must match."
    )
    addresses: tuple[Network, ...] = Field(
        (),
        max_length=MAX_ENTRIES,
        description="Addresses or networks. At a gateway: of the client, by its trusted proxies. At a "
        "service: of the host that connects.",
    )
    not_services: tuple[Name, ...] = Field(
        (), max_length=MAX_ENTRIES, description="Not these services. Callers without a certificate match."
    )
    not_addresses: tuple[Network, ...] = Field(
        (), max_length=MAX_ENTRIES, description="Not these addresses or networks."
    )

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        return _check_set(self, "a caller")

    @property
    def needs_identity(self) -> bool:
        """Whether it names callers by their certificate."""
        return bool(self.services or self.gateways or self.trust_domains or self.not_services)


class PathMatch(Spec):
    """A match on the path, without the query."""

    type: Literal["Exact", "PathPrefix", "Template"] = Field(
        "PathPrefix",
        description="PathPrefix matches whole segments: /a matches /a and /a/b, not /ab. In a Template, "
        "`{name}` and `*` are one segment, `/**` at the end any number: /orders/{id}/items/**.",
    )
    value: Annotated[str, StringConstraints(min_length=1, max_length=1024)] = Field(
        description="The path; begins with a slash."
    )

    @model_validator(mode="after")
    def _valid(self) -> Self:
        pattern = _TEMPLATE if self.type == "Template" else _PATH
        if not pattern.fullmatch(self.value):
            advice = "begin with a slash, and escape what a URL does not allow"
            if self.type == "Template":
                advice = "a segment is text, * or {name}; ** is the last one"
            raise ValueError(f"{self.value!r} is not a valid path for {self.type}: {advice}")
        if is_ambiguous(self.value):
            raise ValueError(
                f"path {self.value!r} can never match: remove //, /./, /../, escaped slashes and letters"
            )
        return self


class GRPCCallMatch(Spec):
    """A gRPC service, or one of its methods."""

    service: _GRPCService = Field(description="The service's full name, such as `shop.v1.Orders`.")
    method: _GRPCMethod = Field("", description="A method, such as `Get`. Omitted: every method.")


class RequestMatch(Spec):
    """What is called. All fields that are set must match; of a list, one entry.

    A TCP connection has ports alone: it matches no entry that sets another field.
    """

    methods: tuple[_Method, ...] = Field((), max_length=MAX_ENTRIES, description="HTTP methods.")
    paths: tuple[PathMatch, ...] = Field((), max_length=MAX_ENTRIES, description="Paths, without the query.")
    hosts: tuple[_Host, ...] = Field(
        (),
        max_length=MAX_ENTRIES,
        description="Hosts, without port and in any case; `*.example.com` is every name below it.",
    )
    ports: tuple[_PortName, ...] = Field(
        (), max_length=16, description="Names of the service's ports, such as http."
    )
    headers: tuple[HTTPHeaderMatch, ...] = Field((), max_length=16, description="Headers; all must match.")
    grpc: tuple[GRPCCallMatch, ...] = Field(
        (), max_length=MAX_ENTRIES, description="gRPC services and methods."
    )
    not_methods: tuple[_Method, ...] = Field((), max_length=MAX_ENTRIES, description="Not these methods.")
    not_paths: tuple[PathMatch, ...] = Field((), max_length=MAX_ENTRIES, description="Not these paths.")
    not_hosts: tuple[_Host, ...] = Field((), max_length=MAX_ENTRIES, description="Not these hosts.")
    not_ports: tuple[_PortName, ...] = Field((), max_length=16, description="Not these ports.")

    @field_validator("headers")
    @classmethod
    def _readable(cls, headers: tuple[HTTPHeaderMatch, ...]) -> tuple[HTTPHeaderMatch, ...]:
        for header in headers:
            if header.name.lower() == "host":
                raise ValueError("header 'host': use hosts")
            if header.name.lower() in HOP_BY_HOP:
                raise ValueError(f"header {header.name!r} is hop-by-hop: proxies consume it")
            if header.type == "Exact" and len(header.value) > MAX_HEADER_VALUE:
                raise ValueError(f"header {header.name!r}: a value has at most {MAX_HEADER_VALUE} characters")
        return headers

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        return _check_set(self, "a request")

    @property
    def grpc_paths(self) -> tuple[PathMatch, ...]:
        """The paths of `grpc`: `/SERVICE/METHOD`."""
        return tuple(
            PathMatch(type="Exact", value=f"/{call.service}/{call.method}")
            if call.method
            else PathMatch(value=f"/{call.service}")
            for call in self.grpc
        )

    @property
    def by_path(self) -> bool:
        """Whether it decides by path."""
        return bool(self.paths or self.not_paths or self.grpc)

    @property
    def by_method(self) -> bool:
        """Whether it decides by method."""
        return bool(self.methods or self.not_methods)

    @property
    def http_only(self) -> bool:
        """Whether it asks for something that a TCP connection does not have."""
        return self.by_path or self.by_method or bool(self.hosts or self.not_hosts or self.headers)
