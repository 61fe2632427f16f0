"""Whether the mesh is healthy: one verdict, and what is wrong or in force that hurts, the worst first."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from meshwright.control_plane.api.models.base import ApiModel

ProblemSeverity = Literal["error", "warning"]

ProblemKind = Literal[
    "traffic", "instances", "breaker", "fault", "proxy", "policy", "certificate", "control-plane", "setup"
]


class MeshProblem(ApiModel):
    """One problem, as `SUBJECT: MESSAGE since TIME: CAUSE`."""

    severity: ProblemSeverity = Field(
        description="`error`: something fails. `warning`: it may, or soon will."
    )
    kind: ProblemKind
    subject: str = Field(description="The service, gateway, edge, proxy or policy.")
    message: str = Field(description="What is wrong, such as `100 % of 3.2/s fail`.")
    since: float = Field(0.0, description="Since when, in epoch seconds; 0: unknown.")
    cause: str = Field(
        "", description="Why, such as the policy with its revision and author; empty: unknown."
    )


class Verdict(ApiModel):
    """The state of the mesh in one line, and all problems."""

    healthy: bool = Field(True, description="Whether there is no problem at all.")
    summary: str = Field("", description="The size of the mesh, if nothing is wrong.")
    problems: tuple[MeshProblem, ...] = ()
