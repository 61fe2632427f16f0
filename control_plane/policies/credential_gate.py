"""What gates of one credential have in common: BasicAuthentication and APIKeyAuthentication.

Envoy has one filter of each kind on a path, so where several policies are in force their credentials are
intersected: what passes, each of the policies accepts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Self

from pydantic import Field, model_validator

from meshwright.control_plane.policies.base import TargetedSpec, TargetKind
from meshwright.control_plane.policies.field_types import HOP_BY_HOP, HeaderName
from meshwright.control_plane.policies.trusted_headers import check_spelling, spellings


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
    return check_spelling(header)


def other_spellings(header: str) -> Iterator[str]:
    """The spellings of a forwarded header but its own, which Envoy's filter itself sets; none without one."""
    return (name for name in spellings(header) if name != header)
