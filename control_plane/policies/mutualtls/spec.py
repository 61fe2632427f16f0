"""MutualTLS: whether a service accepts plaintext."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from meshwright.control_plane.policies.base import Combine, TargetedPolicy, TargetedSpec, TargetKind

MutualTLSMode = Literal["Strict", "Permissive", "Disabled"]


class MutualTLSSpec(TargetedSpec):
    """Which transport a service's sidecar accepts."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset({"Mesh", "Service"})

    mode: MutualTLSMode = Field(
        "Strict",
        description="Strict: mutual TLS only. Permissive: plaintext too; callers in the mesh still use TLS. "
        "Disabled: callers in the mesh use plaintext; a tcp port accepts nothing else. Only the default port "
        "accepts plaintext, since plaintext names no port.",
    )

    @field_validator("from_")
    @classmethod
    def _all_callers(cls, callers: tuple[str, ...]) -> tuple[str, ...]:
        if callers:
            raise ValueError("the mode applies to all callers of a service: leave it out")
        return callers


class MutualTLS(TargetedPolicy):
    """Decides whether the sidecars of a service accept plaintext besides mutual TLS.

    Every policy that applies counts, and the strictest mode is in force; without any it is Strict. Between
    Strict and Disabled go by Permissive, and wait for it: sidecars change at different moments.
    """

    combine: ClassVar[Combine] = "all"
    order: ClassVar[int] = 900

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["MutualTLS"] = Field(description="Always MutualTLS.")
    spec: MutualTLSSpec = Field(description="Targets and mode.")
