"""Where a request carries a credential: a header, a query parameter or a cookie."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from meshwright.control_plane.policies.base import Spec
from meshwright.control_plane.policies.field_types import HOP_BY_HOP, HeaderName

Token = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.~-]+$")]
"""A name that needs no escape in a query or a cookie."""


class CredentialLocation(Spec):
    """Set one of header, query and cookie."""

    header: HeaderName | Literal[""] = Field("", description="A header.")
    query: Token | Literal[""] = Field("", description="A parameter of the URL's query.")
    cookie: Token | Literal[""] = Field("", description="A cookie.")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if sum(map(bool, (self.header, self.query, self.cookie))) != 1:
            raise ValueError("set one of header, query and cookie")
        if self.header.lower() in HOP_BY_HOP | {"host", "cookie"}:
            raise ValueError(f"header {self.header!r} cannot carry a credential")
        return self
