"""Rollouts: where each stands, what its backends do, and what a person does with it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from meshwright.control_plane.api.models.base import ApiModel
from meshwright.control_plane.api.models.policies import EditRequest

RolloutAction = Literal["promote", "promote-fully", "pause", "resume", "abort", "restart"]
"""What a person does with a rollout."""

RolloutPhase = Literal["Progressing", "Paused", "Promoted", "Aborted"]


class BackendFigures(ApiModel):
    """The requests to one backend in the guards' window, within the step."""

    requests: float
    failures: float
    success_rate: float = Field(description="Percent.")
    p99_ms: float


class RolloutStatus(ApiModel):
    """One rollout."""

    name: str
    route: str = Field(description="Kind/name of the route whose weights it decides.")
    stable: str = Field(description="Kind/name of the backend that had the traffic.")
    canary: str = Field(description="Kind/name of the backend that is to have it.")
    phase: RolloutPhase
    step: int = Field(description="The current step, from 1; 0: not begun.")
    steps: int = Field(description="How many steps there are.")
    weight: int = Field(description="Percentage of the requests that the canary responds to.")
    mirror: int = Field(description="Percentage of the requests that are copied to it.")
    since: float = Field(description="When the step or phase began, in seconds since the epoch; 0: unknown.")
    reason: str = Field(description="Why the phase is what it is.")
    waits_for: str = Field(description="What the step waits for; empty: nothing, or the rollout has ended.")
    canary_figures: BackendFigures
    stable_figures: BackendFigures


class RolloutList(ApiModel):
    """All rollouts, by name."""

    rollouts: tuple[RolloutStatus, ...] = ()


class SteerRequest(EditRequest):
    """What to do with a rollout, as a change with author and message."""

    action: RolloutAction
