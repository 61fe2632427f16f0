"""The CORS filter of an HTTPRoute: which pages of other origins may call (Gateway API v1)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from meshwright.control_plane.policies.base import Spec
from meshwright.control_plane.policies.field_types import HeaderName, check_distinct

Origin = Annotated[
    str,
    StringConstraints(
        max_length=253,
        pattern=r"^(\*|[a-zA-Z][a-zA-Z0-9+.-]+://(\*|(\*\.)?[^:/?#*]+)(:[0-9]{1,5})?)$",
    ),
]
"""`*`, or scheme, host and port, the host with `*.` before it for all its subdomains."""

CORSMethod = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"]

ANY = "*"


class HTTPCORSFilter(Spec):
    """Answers preflight requests and adds the headers by which a browser lets a page read the response."""

    allow_origins: tuple[Origin, ...] = Field(
        (),
        max_length=64,
        description="Origins that may call, such as `https://*.example.com`; * means every origin.",
    )
    allow_credentials: bool = Field(
        False, strict=True, description="Whether pages may send cookies and credentials."
    )
    allow_methods: tuple[CORSMethod, ...] = Field(
        (), max_length=9, description="Methods beyond GET, HEAD and POST; * means every method."
    )
    allow_headers: tuple[HeaderName, ...] = Field(
        (), max_length=64, description="Request headers that pages may set; * means every header."
    )
    expose_headers: tuple[HeaderName, ...] = Field(
        (), max_length=64, description="Response headers that pages may read; * means every header."
    )
    max_age: int = Field(
        5, strict=True, ge=1, le=2**31 - 1, description="Seconds for which a browser keeps the answer."
    )

    @model_validator(mode="after")
    def _valid(self) -> Self:
        lists: dict[str, tuple[str, ...]] = {
            "allowOrigins": self.allow_origins,
            "allowMethods": self.allow_methods,
            "allowHeaders": self.allow_headers,
            "exposeHeaders": self.expose_headers,
        }
        for name, values in lists.items():
            check_distinct((value.lower() for value in values), f"{name} entry")
            if ANY in values and len(values) > 1:
                raise ValueError(f"{name} has * and other entries: keep * alone, or leave it out")
        return self
