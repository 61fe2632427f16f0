"""Requests that a policy lets through without a check, such as health checks."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from meshwright.control_plane.policies.base import Spec

_Path = Annotated[str, StringConstraints(max_length=1024, pattern=r"^/[A-Za-z0-9/_.~!$&'()*+,=:@-]*$")]
_Method = Annotated[str, StringConstraints(max_length=32, pattern=r"^[A-Z]+$")]


class ExemptRequest(Spec):
    """Requests that need no check by this policy."""

    path: _Path = Field(
        description="The path without the query. A prefix covers whole segments: /public covers /public/a. "
        "Paths with `..`, `//`, `;` or an encoded character of ASCII are no exception."
    )
    type: Literal["Exact", "PathPrefix"] = Field("Exact", description="How the path matches.")
    methods: tuple[_Method, ...] = Field(
        (), max_length=16, description="Only these methods, such as OPTIONS. Empty: any method."
    )

    @field_validator("path")
    @classmethod
    def _normal(cls, path: str) -> str:
        if "//" in path or any(segment in (".", "..") for segment in path.split("/")):
            raise ValueError(f"{path!r} is not normalised: write it without `//`, `.` and `..`")
        return path
