"""What gates of one credential have in common: BasicAuthentication and APIKeyAuthentication.

Envoy has one filter of each kind on a path, so where several policies are in force their credentials are
intersected: what passes, each of the policies accepts.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import ClassVar, Self

from pydantic import Field, model_validator

from meshwright.control_plane.policies.base import TargetedSpec, TargetKind
from meshwright.control_plane.policies.field_types import HOP_BY_HOP, HeaderName

MAX_HYPHENS = 4
"""Hyphens in the name of a forwarded header: each spelling with underscores is removed, 2 to this power."""


class CredentialGateSpec(TargetedSpec):
    """Targets, and whether the application gets the credential."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset(
        {"Gateway", "Service", "HTTPRoute", "GRPCRoute"}
    )
    gateway_sections: ClassVar[bool] = True
    gateway_routes_only: ClassVar[bool] = True

    forward_credentials: bool = Field(
        False, description="Whether the application gets the credential, too. By default it is removed."
    )

    @model_validator(mode="after")
    def _without_callers(self) -> Self:
        if self.from_:
            raise ValueError("from: the credential says who calls, whichever service it is: leave it out")
        return self


def check_forwarded_header(header: HeaderName | str) -> str:
    """The name in lower case; raises ValueError for a header that has a meaning of its own."""
    if not header:
        return ""
    if header.lower() in HOP_BY_HOP | {"host", "authorization", "cookie", "content-type"}:
        raise ValueError(f"header {header!r} has a meaning of its own: use another name")
    if "_" in header or header.count("-") > MAX_HYPHENS:
        raise ValueError(f"header {header!r}: use hyphens, no underscores, and at most {MAX_HYPHENS}")
    return header.lower()


def other_spellings(header: str) -> Iterator[str]:
    """The other names by which an application may read a header: CGI takes an underscore for a hyphen."""
    parts = header.split("-") if header else []
    for separators in product("-_", repeat=max(len(parts) - 1, 0)):
        name = "".join(parts[:1]) + "".join(map("".join, zip(separators, parts[1:], strict=True)))
        if name != header:
            yield name
