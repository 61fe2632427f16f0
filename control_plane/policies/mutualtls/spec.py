"""MutualTLS: whether a service takes plaintext. No hooks: core reads it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from meshwright.control_plane.policies.base import Combine, TargetedPolicy, TargetedSpec, TargetKind

MutualTLSMode = Literal["Strict", "Permissive", "Disabled"]

_STRICTNESS: tuple[MutualTLSMode, ...] = ("Disabled", "Permissive", "Strict")


def strictest(modes: Iterable[MutualTLSMode]) -> MutualTLSMode:
    """The mode that holds where several apply; Strict when none does."""
    return max(modes, key=_STRICTNESS.index, default="Strict")


class MutualTLSSpec(TargetedSpec):
    """How a service's sidecar is spoken to."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset({"Mesh", "Service"})

    mode: MutualTLSMode = Field(
        "Strict",
        description="Strict: only mutual TLS. Permissive: plaintext too, callers in the mesh still use TLS. "
        "Disabled: only plaintext. Only the default port takes plaintext, for it names no port.",
    )

    @field_validator("from_")
    @classmethod
    def _all_callers(cls, callers: tuple[str, ...]) -> tuple[str, ...]:
        if callers:
            raise ValueError("one mode holds for all callers of a service: leave it out")
        return callers


class MutualTLS(TargetedPolicy):
    """Says whether the sidecars of a service take plaintext besides mutual TLS.

    Every document that applies counts and the strictest mode holds; without any it is Strict.
    """

    combine: ClassVar[Combine] = "all"
    order: ClassVar[int] = 900

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["MutualTLS"] = Field(description="Always MutualTLS.")
    spec: MutualTLSSpec = Field(description="Where it applies and how strict it is.")
