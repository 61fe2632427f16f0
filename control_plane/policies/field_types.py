"""Field types shared by several kinds, with the limits of Gateway API v1."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, StringConstraints
from pydantic_core import CoreSchema, core_schema

from meshwright.control_plane.api.models.base import LabelKey, LabelValue

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"

PortNumber = Annotated[int, Field(strict=True, ge=1, le=65535)]
Hostname = Annotated[
    str, StringConstraints(max_length=253, pattern=rf"^(\*\.)?{_LABEL}(\.{_LABEL})*$")
]  # Gateway API's Hostname
PreciseHostname = Annotated[str, StringConstraints(max_length=253, pattern=rf"^{_LABEL}(\.{_LABEL})*$")]
HeaderName = Annotated[
    str, StringConstraints(min_length=1, max_length=256, pattern=r"^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$")
]  # a token of RFC 9110 section 5.1
HeaderValue = Annotated[
    str, StringConstraints(min_length=1, max_length=4096, pattern=r"^[^\x00-\x08\x0a-\x1f\x7f]+$")
]  # RFC 9110 section 5.5
Weight = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]


def _no_namespace(value: str) -> str:
    if value:
        raise ValueError(f"{value!r} is not the route's namespace, and a mesh has only one: leave it out")
    return value


NoNamespace = Annotated[str, AfterValidator(_no_namespace)]


def check_distinct(names: Iterable[str], what: str) -> None:
    """Raise ValueError when a name occurs twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{what} {name!r} occurs twice: keep one")
        seen.add(name)


HOP_BY_HOP = frozenset(
    {
        "connection", "content-length", "http2-settings", "keep-alive", "proxy-authenticate",
        "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""Headers of one connection, which every proxy consumes (RFC 9110 section 7.6.1), and those of framing."""


def check_header_changes(names: Iterable[str]) -> None:
    """Raise ValueError when a policy changes a header twice, or one that it must not change."""
    lower_case = [name.lower() for name in names]
    check_distinct(lower_case, "header")
    for name in lower_case:
        if name == "host":
            raise ValueError("header 'host' cannot be changed: use an HTTPRoute's URLRewrite with hostname")
        if name in HOP_BY_HOP:
            raise ValueError(f"header {name!r} is hop-by-hop: the next proxy drops it, so leave it out")


@dataclass(frozen=True)
class LabelMap:
    """A field that is a mapping in YAML and JSON, and a sorted tuple of pairs in memory (hashable)."""

    min_entries: int = 0
    max_entries: int = 32

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = handler.generate_schema(
            Annotated[
                dict[LabelKey, LabelValue], Field(min_length=self.min_entries, max_length=self.max_entries)
            ]
        )
        before = core_schema.no_info_before_validator_function(
            lambda value: dict(value) if isinstance(value, tuple) else value, inner
        )
        return core_schema.no_info_after_validator_function(
            lambda labels: tuple(sorted(labels.items())),
            before,
            serialization=core_schema.plain_serializer_function_ser_schema(dict),
        )


Labels = Annotated[tuple[tuple[str, str], ...], LabelMap()]
