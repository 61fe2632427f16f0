"""Compression: which responses a gateway compresses, and how."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from meshwright.control_plane.policies.base import Combine, TargetedPolicy, TargetedSpec, TargetKind
from meshwright.control_plane.policies.byte_size import KIB, MIB, ByteSize
from meshwright.control_plane.policies.field_types import check_distinct

Algorithm = Literal["br", "zstd", "gzip"]

_ContentType = Annotated[
    str, StringConstraints(max_length=128, pattern=r"^[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*$")
]


class CompressionSpec(TargetedSpec):
    """Targets, algorithms, and which responses."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset({"Gateway", "HTTPRoute"})
    gateway_sections: ClassVar[bool] = True
    gateway_routes_only: ClassVar[bool] = True

    algorithms: tuple[Algorithm, ...] = Field(
        ("br", "zstd", "gzip"),
        max_length=3,
        description="Which of them clients may choose by `accept-encoding`; the first one where they accept "
        "several alike. `[]` exempts a route from the policy of its gateway.",
    )
    min_size: ByteSize = Field(
        1 * KIB,
        ge=30,
        le=1 * MIB,
        description="Responses that declare a smaller content-length are sent as they are.",
    )
    content_types: tuple[_ContentType, ...] = Field(
        (),
        max_length=64,
        description="Which types are compressed. Empty: HTML, CSS, JavaScript, JSON, XML, SVG, plain text.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.from_:
            raise ValueError("from: clients of a gateway are no services: leave it out")
        check_distinct(self.algorithms, "algorithm")
        check_distinct(self.content_types, "content type")
        return self


class Compression(TargetedPolicy):
    """Compresses responses at a gateway for clients that accept it.

    Responses that are compressed already, or that say `cache-control: no-transform`, pass as they are. Others
    of these types get `vary: accept-encoding`, and a strong ETag becomes a weak one. Requests are never
    changed or decompressed. The most specific policy applies: route, listener or gateway.
    """

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 870

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["Compression"] = Field(description="Always Compression.")
    spec: CompressionSpec = Field(description="Targets, algorithms and which responses.")
