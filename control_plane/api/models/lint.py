"""Lint: what policies do together that nobody meant, by the calls that were seen."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from meshwright.control_plane.api.models.base import ApiModel

LintRule = Literal[
    "cut-calls",
    "timeout-inversion",
    "retry-amplification",
    "shadowed-rule",
    "unreached-breaker",
    "unused-policy",
]
LintSeverity = Literal["error", "warning"]


class LintFinding(ApiModel):
    """One finding. `error`: calls that were made are refused; `warning`: it hurts when something fails."""

    rule: LintRule
    severity: LintSeverity
    policies: tuple[str, ...] = Field((), description="`Kind/name` of those that cause it.")
    sources: tuple[str, ...] = Field(
        (), description="`path:line` from which each of them was applied; empty if unknown."
    )
    message: str = Field(description="One sentence with figures: what, and what to do.")


class LintReport(ApiModel):
    """What lint finds in the policies in force."""

    revision: int
    seconds: float = Field(description="The calls of this time were considered, an hour at most.")
    findings: tuple[LintFinding, ...] = ()
